"""How many invocations may run at once: in total, in one session, and how many may wait for their turn.

An invocation is in one of two collections, or in neither: it waits, or it runs. What ends it, be it the end
of its work, its client, or too long a wait, takes it out of where it is, and out of nothing twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

from agentserver.errors import InvocationError, TooManyRequestsError
from agentserver.options import AgentHostOptions
from agentserver.wire import ErrorCode


class _Invocation:
    __slots__ = ("session_id",)

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id


_Verdict: TypeAlias = InvocationError | None
"""What an invocation waits for: why it is refused, or ``None`` if it runs now."""


class ConcurrencyLimiter:
    """Admits invocations while there is room, lets some wait in order, and refuses the rest.

    Who waits for a place in a session does not hold up those behind who could run.

    Args:
        options: Of which ``max_invocations``, ``max_session_invocations``, ``max_waiting``, ``wait_timeout``
            and ``retry_after`` apply.
    """

    def __init__(self, options: AgentHostOptions) -> None:
        self._limit = options.max_invocations
        self._session_limit = options.max_session_invocations
        self._max_waiting = options.max_waiting
        self._timeout = options.wait_timeout
        self._retry_after = options.retry_after
        self._running: set[_Invocation] = set()
        self._sessions: Counter[str] = Counter()  # of those that run
        self._waiting: dict[_Invocation, asyncio.Future[_Verdict]] = {}  # in the order in which they came

    @property
    def is_saturated(self) -> bool:
        """Whether an invocation of a new session would be refused."""
        full = self._limit is not None and len(self._running) >= self._limit
        return full and len(self._waiting) >= self._max_waiting

    @asynccontextmanager
    async def slot(self, session_id: str) -> AsyncGenerator[None]:
        """Hold a place for one invocation of *session_id*, after waiting for it if need be.

        Raises:
            InvocationError: If there is no place and none to wait in, or the wait took too long: 429
                ``too_many_requests`` where the session is full, 503 ``unavailable`` where the server is;
                both with ``Retry-After``.
        """
        invocation = _Invocation(session_id)
        try:
            if self._has_room(session_id):
                self._start(invocation)
            elif refusal := await self._turn_of(invocation):
                raise refusal
            yield
        finally:
            self._end(invocation)

    async def _turn_of(self, invocation: _Invocation) -> _Verdict:
        """Wait until *invocation* runs, or is refused."""
        if len(self._waiting) >= self._max_waiting:
            return self._refusal(invocation.session_id)
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[_Verdict] = loop.create_future()
        self._waiting[invocation] = verdict
        expiry = loop.call_later(self._timeout, self._expire, invocation)
        try:
            return await verdict
        finally:
            expiry.cancel()

    def _expire(self, invocation: _Invocation) -> None:
        verdict = self._waiting.pop(invocation, None)
        if verdict is not None and not verdict.done():
            verdict.set_result(self._refusal(invocation.session_id))

    def _start(self, invocation: _Invocation) -> None:
        self._running.add(invocation)
        self._sessions[invocation.session_id] += 1

    def _end(self, invocation: _Invocation) -> None:
        self._waiting.pop(invocation, None)
        if invocation not in self._running:
            return
        self._running.remove(invocation)
        self._sessions[invocation.session_id] -= 1
        if not self._sessions[invocation.session_id]:
            del self._sessions[invocation.session_id]
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        for invocation, verdict in list(self._waiting.items()):
            # Whose verdict is done already has been cancelled, and will see to its own end.
            if not verdict.done() and self._has_room(invocation.session_id):
                del self._waiting[invocation]
                self._start(invocation)
                verdict.set_result(None)

    def _has_room(self, session_id: str) -> bool:
        if self._limit is not None and len(self._running) >= self._limit:
            return False
        return self._session_limit is None or self._sessions[session_id] < self._session_limit

    def _refusal(self, session_id: str) -> InvocationError:
        if self._session_limit is not None and self._sessions[session_id] >= self._session_limit:
            return TooManyRequestsError(
                "This session has as many invocations as it may have: wait for one to end",
                retry_after=self._retry_after,
            )
        return InvocationError(
            ErrorCode.UNAVAILABLE,
            "The server has as many invocations as it may have: try again later",
            status=503,
            headers={"Retry-After": str(self._retry_after)},
        )
