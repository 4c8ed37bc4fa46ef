"""One invocation among the actions of a connection, from its sending to its last frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from agentserver._time_limit import wait_for
from agentserver.actions.frames import (
    ErrorFrame,
    GetInvocation,
    InvocationFrame,
    Invoke,
    Result,
    StreamChunk,
    StreamEnd,
)
from agentserver.client.action_channel import ActionChannel, action_error
from agentserver.client.errors import ClientError, DeadlineError

__all__ = ["ActionResult", "ActionStream", "within"]

_BACKLOG = 10_000
_BACKLOG_SIZE = 64 * 1024 * 1024
"""Payloads, and characters of them, that a stream may be behind: its reader must neither stop the others nor
fill the memory."""

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class ActionResult:
    """The answer to an invocation.

    Args:
        payload: What the agent answered; of a streamed answer, the list of its payloads.
        invocation_id: The invocation's id.
        session_id: The session's id.
    """

    payload: Any
    invocation_id: str
    session_id: str | None


class ActionStream:
    """One invocation while its answer arrives: an asynchronous context manager, iterated over once.

    ``session_id`` is the server's word once the first frame is there. Made by
    :meth:`ActionsConnection.stream`.
    """

    def __init__(
        self,
        usable: Callable[[], Awaitable[ActionChannel]],
        frame: Invoke | GetInvocation,
        invocation_id: str,
        idle_timeout: float,
        *,
        goes_on: bool = False,
    ) -> None:
        self.goes_on = goes_on
        self._usable = usable
        self._frame = frame
        self._idle_timeout = idle_timeout
        self._channel: ActionChannel | None = None
        self._frames: asyncio.Queue[tuple[InvocationFrame | ClientError, int]] = asyncio.Queue()
        self._waiting_size = 0
        self._ended = False
        self.invocation_id = invocation_id
        self.session_id = frame.session_id if isinstance(frame, Invoke) else None

    async def __aenter__(self) -> Self:
        """Send the invocation; the errors are those of :meth:`ActionsConnection.invoke`."""
        await within(self._idle_timeout, self._start(), self.invocation_id)
        return self

    async def _start(self) -> None:
        self._channel = await self._usable()
        await self._channel.start(self, self._frame)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.leave(self)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while not self._ended:
            frame = await self._next()
            if not isinstance(frame, StreamEnd):
                yield frame.payload

    async def result(self) -> ActionResult:
        """The whole answer, a streamed one as the list of its payloads.

        Raises:
            ActionError: If the agent answers with an error.
            ConnectionClosedError: If the connection ends first.
            DeadlineError: If nothing came within the idle time-out.
        """
        payloads: list[Any] = []
        while not self._ended:
            frame = await self._next()
            if isinstance(frame, Result):
                return ActionResult(frame.payload, self.invocation_id, self.session_id)
            if isinstance(frame, StreamChunk):
                payloads.append(frame.payload)
        return ActionResult(payloads, self.invocation_id, self.session_id)

    async def _next(self) -> Result | StreamChunk | StreamEnd:
        frame = await self._get()
        self._ended = not isinstance(frame, StreamChunk)
        if isinstance(frame, ClientError):
            raise frame
        self.session_id = frame.session_id or self.session_id
        if isinstance(frame, ErrorFrame):
            raise action_error(frame)
        return frame

    async def _get(self) -> InvocationFrame | ClientError:
        if self._frames.empty():
            words = f"nothing came within {self._idle_timeout:g} s"
            late = DeadlineError(words, invocation_id=self.invocation_id, session_id=self.session_id)
            timer = asyncio.get_running_loop().call_later(
                self._idle_timeout, self._frames.put_nowait, (late, 0)
            )
            try:
                frame, size = await self._frames.get()
            finally:
                timer.cancel()
        else:
            frame, size = self._frames.get_nowait()
        self._waiting_size -= size
        return frame

    def put(self, frame: InvocationFrame | ClientError, size: int) -> bool:
        """Take *frame* of *size* bytes; False when the reader is so far behind that this is the end."""
        behind = self._frames.qsize()
        if behind >= _BACKLOG or (behind and self._waiting_size + size > _BACKLOG_SIZE):
            words = f"the stream is over: its reader was {behind} payloads behind"
            self._frames.put_nowait((ClientError(words, invocation_id=self.invocation_id), 0))
            return False
        self._waiting_size += size
        self._frames.put_nowait((frame, size))
        return True


async def within(seconds: float, asking: Awaitable[ResultT], invocation_id: str | None) -> ResultT:
    """Await *asking*, which may send, wait for an answer, or connect again, for *seconds* at most."""
    try:
        return await wait_for(asking, seconds)
    except ClientError:
        raise
    except asyncio.TimeoutError:
        words = f"the agent did not answer within {seconds:g} s"
        raise DeadlineError(words, invocation_id=invocation_id) from None
