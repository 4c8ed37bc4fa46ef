"""Whoever comes, leaves, is cancelled or waits too long, in any order: every place is held by one or free."""

from __future__ import annotations

import asyncio

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentserver import AgentHostOptions, InvocationError
from agentserver._http.concurrency_limit import ConcurrencyLimiter

LIMIT, SESSION_LIMIT, WAITING, WAIT_SECONDS = 2, 1, 3, 10.0


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes when it is told to, and which goes one turn at a time."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def turn(self) -> None:
        self.call_soon(self.stop)
        self.run_forever()


class Invocation:
    """One that asks for a place, holds it until it is told to leave, and tells how it went."""

    def __init__(self, limiter: ConcurrencyLimiter, session: str, loop: Clock) -> None:
        self.session = session
        self.holds = False
        self.refusal: InvocationError | None = None
        self.leave = loop.create_future()
        self.task = loop.create_task(self._run(limiter))

    async def _run(self, limiter: ConcurrencyLimiter) -> None:
        try:
            async with limiter.slot(self.session):
                self.holds = True
                try:
                    await self.leave
                finally:
                    self.holds = False
        except InvocationError as error:
            self.refusal = error


class Limiter(RuleBasedStateMachine):
    @initialize()
    def make(self) -> None:
        self.loop = Clock()
        options = AgentHostOptions(
            max_invocations=LIMIT,
            max_session_invocations=SESSION_LIMIT,
            max_waiting=WAITING,
            wait_timeout=WAIT_SECONDS,
        )
        self.limiter = ConcurrencyLimiter(options)
        self.invocations: list[Invocation] = []

    @rule(session=st.sampled_from("abc"))
    def arrive(self, session: str) -> None:
        self.invocations.append(Invocation(self.limiter, session, self.loop))

    @precondition(lambda self: self.invocations)
    @rule(which=st.integers(0, 20))
    def leave(self, which: int) -> None:
        invocation = self.invocations[which % len(self.invocations)]
        if not invocation.leave.done():
            invocation.leave.set_result(None)

    @precondition(lambda self: self.invocations)
    @rule(which=st.integers(0, 20))
    def cancel(self, which: int) -> None:
        """The client leaves, whatever else happens in this turn of the loop."""
        self.invocations[which % len(self.invocations)].task.cancel()

    @rule()
    def wait_too_long(self) -> None:
        self.loop.now += WAIT_SECONDS + 1

    @rule()
    def turn(self) -> None:
        self.loop.turn()

    @invariant()
    def nobody_is_let_in_beyond_the_limits(self) -> None:
        holding = [invocation.session for invocation in getattr(self, "invocations", []) if invocation.holds]
        assert len(holding) <= LIMIT
        assert len(set(holding)) == len(holding)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            for invocation in self.invocations:
                invocation.task.cancel()
            self.settle()
            assert all(invocation.task.done() for invocation in self.invocations)
            self.every_place_is_free_again()
        finally:
            self.loop.close()

    def settle(self) -> None:
        for _ in range(10):
            self.loop.turn()

    def every_place_is_free_again(self) -> None:
        later = [Invocation(self.limiter, session, self.loop) for session in "abcdef"]
        self.settle()
        assert [one.holds for one in later] == [True] * LIMIT + [False] * (6 - LIMIT)
        assert [one.refusal is not None for one in later] == [False] * (LIMIT + WAITING) + [True]
        for one in later:
            one.leave.cancel()
            one.task.cancel()
        self.settle()


TestPlaces = Limiter.TestCase
TestPlaces.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


def test_a_client_that_leaves_as_its_wait_ends_gives_no_place_back() -> None:
    loop = Clock()
    limiter = ConcurrencyLimiter(AgentHostOptions(max_invocations=1, max_waiting=1, wait_timeout=1.0))
    holding, waiting = (Invocation(limiter, "s", loop) for _ in range(2))
    loop.turn()
    loop.now += 2.0
    loop.turn()  # the wait has ended, and who waited has not been told yet
    waiting.task.cancel()
    loop.turn()
    third = Invocation(limiter, "s", loop)
    loop.turn()
    assert (holding.holds, third.holds) == (True, False)
    for invocation in (holding, third):
        invocation.task.cancel()
    loop.turn()
    loop.close()
