"""A second input of a session, and the same input twice."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from agentserver.durable._records import Status
from agentserver.durable._runs import SessionBusyError, TooManyPendingError
from agentserver.durable.run import Run
from tests.durable.harness import FAST, World, timeout


class Gated:
    """Runs that wait for their gate, and note when they begin."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.began: list[Any] = []
        self.superseded: list[bool] = []

    async def __call__(self, run: Run, value: Any) -> Any:
        self.began.append(value)
        await run.step("gate", self.gate.wait)
        self.superseded.append(run.superseded)
        return value


async def test_inputs_of_a_session_wait_for_their_turn_in_order(world: World) -> None:
    body = Gated()
    async with world.process(body) as process:
        created = [await process.start(number) for number in range(4)]
        assert [one.run.status for one in created] == [Status.IN_PROGRESS] + [Status.QUEUED] * 3
        assert [one.position for one in created] == [0, 1, 2, 3]
        body.gate.set()
        for one in created:
            await process.end(one.run.asked.invocation_id)
    assert body.began == [0, 1, 2, 3]
    assert not any(body.superseded)


async def test_the_order_is_kept_over_a_crash(world: World) -> None:
    body = Gated()
    async with world.process(body) as process:
        names = [await process.begin(number) for number in range(4)]
        await process.crash()
    body = Gated()
    body.gate.set()
    async with world.process(body) as process:
        for name in names:
            await process.end(name)
    assert body.began == [0, 1, 2, 3]


async def test_a_later_input_tells_the_run_before_it_to_make_room(world: World) -> None:
    body = Gated()
    async with world.process(body, dataclasses.replace(FAST, busy="steer")) as process:
        names = [await process.begin(number) for number in range(3)]
        body.gate.set()
        for name in names:
            await process.end(name)
    assert body.superseded == [True, True, False]


async def test_a_session_that_takes_one_at_a_time_refuses_another(world: World) -> None:
    body = Gated()
    async with world.process(body, dataclasses.replace(FAST, busy="reject")) as process:
        name = await process.begin(0)
        with pytest.raises(SessionBusyError):
            await process.start(1)
        await process.begin(2, session_id="another")
        body.gate.set()
        await process.end(name)
        await process.begin(3)


async def test_runs_of_a_session_may_be_side_by_side(world: World) -> None:
    body = Gated()
    async with world.process(body, dataclasses.replace(FAST, busy="parallel")) as process:
        names = [await process.begin(number) for number in range(5)]
        while len(body.began) < 5:
            await asyncio.sleep(0.001)
        body.gate.set()
        for name in names:
            await process.end(name)


async def test_the_tenth_that_would_wait_is_refused(world: World) -> None:
    body = Gated()
    async with world.process(body) as process:
        names = [await process.begin(number) for number in range(10)]
        with pytest.raises(TooManyPendingError) as refused:
            await process.start(10)
        body.gate.set()
        for name in names:
            await process.end(name)
    assert (refused.value.status, refused.value.code) == (429, "too_many_pending")


async def test_sessions_of_two_owners_do_not_wait_for_each_other(world: World) -> None:
    body = Gated()
    async with world.process(body) as process:
        first = await process.start(0, owner="a")
        second = await process.start(1, owner="b")
        assert {first.run.status, second.run.status} == {Status.IN_PROGRESS}
        body.gate.set()


async def test_ten_inputs_of_one_key_at_once_are_one_run(world: World) -> None:
    body = Gated()
    async with world.process(body) as process:
        created = await asyncio.gather(*(process.start(0, key="k") for _ in range(10)))
        body.gate.set()
        assert len({one.run.asked.invocation_id for one in created}) == 1
        assert sum(one.is_new for one in created) == 1
        other = await process.start(0, key="k", owner="another")
        assert other.is_new


async def test_who_asks_may_leave_at_any_moment_and_the_run_goes_on(world: World) -> None:
    body = Gated()
    body.gate.set()
    async with world.process(body) as process:
        for pauses in range(6):
            asking = asyncio.create_task(process.begin(pauses, invocation_id=f"left-{pauses}"))
            for _ in range(pauses):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
        async with timeout():
            while await process.runs._engine.unfinished():  # what is being stored still, too
                await asyncio.sleep(0.002)
