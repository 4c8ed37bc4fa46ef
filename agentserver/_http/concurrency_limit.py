"""How many invocations may run at once: in total, in one session, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from agentserver.errors import InvocationError, TooManyRequestsError
from agentserver.options import AgentHostOptions
from agentserver.wire import ErrorCode


class _Waiting:
    __slots__ = ("admitted", "session_id")

    def __init__(self, session_id: str, admitted: asyncio.Future[None]) -> None:
        self.session_id = session_id
        self.admitted = admitted


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
        self._running = 0
        self._sessions: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()

    @property
    def is_saturated(self) -> bool:
        """Whether an invocation of a new session would be refused."""
        full = self._limit is not None and self._running >= self._limit
        return full and len(self._waiting) >= self._max_waiting

    @asynccontextmanager
    async def slot(self, session_id: str) -> AsyncGenerator[None]:
        """Hold a place for one invocation of *session_id*, after waiting for it if need be.

        Raises:
            InvocationError: If there is no place and none to wait in, or the wait took too long: 429
                ``too_many_requests`` where the session is full, 503 ``unavailable`` where the server is;
                both with ``Retry-After``.
        """
        if self._has_room(session_id):
            self._take(session_id)
        elif len(self._waiting) < self._max_waiting:
            await self._wait(session_id)
        else:
            raise self._refusal(session_id)
        try:
            yield
        finally:
            self._leave(session_id)

    async def _wait(self, session_id: str) -> None:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(session_id, loop.create_future())
        self._waiting.append(waiting)
        expiry = loop.call_later(self._timeout, self._expire, waiting)
        try:
            await waiting.admitted
        except asyncio.CancelledError:
            if waiting.admitted.cancelled():
                self._waiting.remove(waiting)
            else:  # admitted in the very moment it was cancelled
                self._leave(session_id)
            raise
        finally:
            expiry.cancel()

    def _expire(self, waiting: _Waiting) -> None:
        if not waiting.admitted.done():
            self._waiting.remove(waiting)
            waiting.admitted.set_exception(self._refusal(waiting.session_id))

    def _has_room(self, session_id: str) -> bool:
        if self._limit is not None and self._running >= self._limit:
            return False
        return self._session_limit is None or self._sessions[session_id] < self._session_limit

    def _take(self, session_id: str) -> None:
        self._running += 1
        self._sessions[session_id] += 1

    def _leave(self, session_id: str) -> None:
        self._running -= 1
        self._sessions[session_id] -= 1
        if not self._sessions[session_id]:
            del self._sessions[session_id]
        self._admit_next()

    def _admit_next(self) -> None:
        for waiting in list(self._waiting):
            if not waiting.admitted.done() and self._has_room(waiting.session_id):
                self._waiting.remove(waiting)
                self._take(waiting.session_id)
                waiting.admitted.set_result(None)
                return

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
