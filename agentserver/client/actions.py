"""The action protocol's caller: many invocations at once on one WebSocket (contract, section 6)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from agentserver.actions.frames import ErrorFrame, InvocationFrame, Invoke, Result, StreamChunk, StreamEnd
from agentserver.client.errors import ClientError, ConnectionClosedError, DeadlineError
from agentserver.client.line import Line, action_error
from agentserver.client.resumption import Resumption, is_resumable
from agentserver.client.retry import Retry, limit
from agentserver.client.websocket import Connection

__all__ = ["ActionResult", "ActionStream", "ActionsConnection"]

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


class ActionsConnection:
    """A connection that speaks actions, used as an asynchronous context manager by any number of tasks.

    Made by :meth:`InvocationsClient.actions`.
    """

    def __init__(
        self,
        connect: Callable[[str | None, bool], Connection],
        session_id: str | None,
        timeout: float,
        reconnect: Retry | None,
    ) -> None:
        self._connect = connect
        self._session_id = session_id
        self._timeout = timeout
        self._resumption = None if reconnect is None else Resumption(reconnect)
        self._opening = asyncio.Lock()
        self._line: Line | None = None
        self._closed_by_us = False

    async def __aenter__(self) -> Self:
        """Connect; the errors are those of :meth:`Connection.__aenter__`."""
        await self._open(once=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what runs on it ends with :class:`ConnectionClosedError`."""
        self._closed_by_us = True
        if self._line is not None:
            await self._line.close()

    async def closed(self) -> ConnectionClosedError:
        """Wait for the end of the present connection, whoever ends it, and return its code and reason.

        Raises:
            RuntimeError: If the connection was not opened.
            ClientError: If something else than a close ended it.
        """
        over = await self._opened().ended()
        if isinstance(over, ConnectionClosedError):
            return over
        raise over

    async def invoke(
        self,
        payload: Mapping[str, Any],
        *,
        invocation_id: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> ActionResult:
        """Invoke the agent and return its answer, a streamed one as the list of its payloads.

        Args:
            payload: A JSON object.
            invocation_id: The invocation's id; None makes one.
            session_id: The session's id; None is the client's, or the server's choice.
            timeout: Seconds until the answer must be complete; None is the client's ``timeouts.answer``.

        Raises:
            ActionError: If the agent answers with an error.
            ConnectionClosedError: If the connection ends first.
            DeadlineError: If the time-out passes first, be it because the agent does not answer, does not
                read, or is being connected to again; the invocation is then cancelled.
            ClientError: With reconnecting on, what the last attempt to connect again raised.
            ValueError: If the payload or an id cannot be sent.
        """
        seconds = limit(timeout, self._timeout)
        stream = self.stream(
            payload, invocation_id=invocation_id, session_id=session_id, idle_timeout=seconds
        )

        async def whole() -> ActionResult:
            async with stream:
                return await stream.result()

        return await _within(seconds, whole(), stream.invocation_id)

    def stream(
        self,
        payload: Mapping[str, Any],
        *,
        invocation_id: str | None = None,
        session_id: str | None = None,
        idle_timeout: float | None = None,
    ) -> ActionStream:
        """Invoke the agent and iterate over the payloads of its answer; one that answers once gives one.

        .. code-block:: python

            async with actions.stream({"prompt": "tell me a story"}) as stream:
                async for payload in stream:
                    print(payload)

        Leaving the block early cancels the invocation. Arguments and errors as for :meth:`invoke`, raised on
        entering the block and while iterating, but for *idle_timeout*: seconds between two payloads; None is
        the client's ``timeouts.answer``.
        """
        chosen = str(uuid.uuid4()) if invocation_id is None else invocation_id
        frame = Invoke(payload, chosen, session_id or self._session_id)
        return ActionStream(self, frame, chosen, limit(idle_timeout, self._timeout))

    async def get(self, invocation_id: str, *, timeout: float | None = None) -> Any:
        """Return the state of an invocation, as the agent tells it.

        Raises:
            ActionError: ``not_found`` if the agent knows no such invocation or has no ``get``; the others as
                for :meth:`invoke`.
        """
        seconds = limit(timeout, self._timeout)

        async def ask() -> Any:
            return await (await self._usable()).get(invocation_id)

        return await _within(seconds, ask(), invocation_id)

    async def cancel(self, invocation_id: str, *, timeout: float | None = None) -> Any:
        """Cancel an invocation, one that streams on this connection included, and return the answer.

        Raises:
            ActionError: ``not_found`` if nothing runs under that id; the others as for :meth:`invoke`.
        """
        seconds = limit(timeout, self._timeout)

        async def ask() -> Any:
            return await (await self._usable()).cancel(invocation_id)

        return await _within(seconds, ask(), invocation_id)

    async def ping(self, timeout: float = 10.0) -> float:
        """Send a Ping frame and return the seconds until its Pong.

        Raises:
            DeadlineError: If no Pong came within *timeout* seconds.
            ConnectionClosedError: If the connection ends first.
        """
        seconds = limit(timeout, timeout)

        async def ask() -> float:
            return await (await self._usable()).ping(seconds)

        return await _within(seconds, ask(), None)

    def _opened(self) -> Line:
        if self._line is None:
            raise RuntimeError("the connection is not open: enter it with 'async with'")
        return self._line

    async def _usable(self) -> Line:
        """Return the open line, a new one if the last broke and resuming was asked for."""
        line = self._opened()
        if line.over is None or not self._may_resume(line.over):
            return line
        async with self._opening:
            line = self._opened()
            if self._resumption is not None and line.over is not None and self._may_resume(line.over):
                line = await self._resumption.connect(self._open_again, line.over)
        return line

    def _may_resume(self, over: ClientError) -> bool:
        asked_for = self._resumption is not None and not self._closed_by_us
        return asked_for and isinstance(over, ConnectionClosedError) and is_resumable(over.code)

    async def _open_again(self) -> Line:
        return await self._open(once=True)

    async def _open(self, *, once: bool) -> Line:
        connection = self._connect(self._session_id, once)
        await connection.__aenter__()
        if self._closed_by_us:  # while we were connecting
            await connection.close()
        if self._resumption is not None:
            self._session_id = connection.session_id
            self._resumption.opened()
        self._line = Line(connection, self._alive)
        return self._line

    def _alive(self) -> None:
        if self._resumption is not None:
            self._resumption.alive()


class ActionStream:
    """One invocation while its answer arrives: an asynchronous context manager, iterated over once.

    ``session_id`` is the server's word once the first frame is there.
    """

    def __init__(
        self, actions: ActionsConnection, frame: Invoke, invocation_id: str, idle_timeout: float
    ) -> None:
        self._actions = actions
        self._frame = frame
        self._idle_timeout = idle_timeout
        self._line: Line | None = None
        self._frames: asyncio.Queue[tuple[InvocationFrame | ClientError, int]] = asyncio.Queue()
        self._waiting_size = 0
        self._ended = False
        self.invocation_id = invocation_id
        self.session_id = frame.session_id

    async def __aenter__(self) -> Self:
        """Send the invocation; the errors are those of :meth:`ActionsConnection.invoke`."""
        await _within(self._idle_timeout, self._start(), self.invocation_id)
        return self

    async def _start(self) -> None:
        self._line = await self._actions._usable()
        await self._line.start(self, self._frame)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            await self._line.leave(self)

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
        """Take *frame* from the connection; False when the reader is so far behind that this is the end."""
        behind = self._frames.qsize()
        if behind >= _BACKLOG or (behind and self._waiting_size + size > _BACKLOG_SIZE):
            words = f"the stream is over: its reader was {behind} payloads behind"
            self._frames.put_nowait((ClientError(words, invocation_id=self.invocation_id), 0))
            return False
        self._waiting_size += size
        self._frames.put_nowait((frame, size))
        return True


async def _within(seconds: float, asking: Awaitable[ResultT], invocation_id: str | None) -> ResultT:
    """Await *asking*, which may send, wait for an answer, or connect again, for *seconds* at most."""
    try:
        return await asyncio.wait_for(asking, seconds)
    except ClientError:
        raise
    except asyncio.TimeoutError:
        words = f"the agent did not answer within {seconds:g} s"
        raise DeadlineError(words, invocation_id=invocation_id) from None
