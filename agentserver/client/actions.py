"""The action protocol's caller: many invocations at once on one WebSocket (contract, section 6)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from typing_extensions import Self

from agentserver.actions._client_protocol import Answer, ClientEvent, ClientProtocol, Notice, Progress
from agentserver.actions._codec import encode_action
from agentserver.actions._protocol import OrderError
from agentserver.actions.frames import (
    CancelInvocation,
    ClientFrame,
    ErrorFrame,
    FrameError,
    GetInvocation,
    InvocationFrame,
    Invoke,
    Pong,
    Result,
    StreamChunk,
    StreamEnd,
)
from agentserver.client.errors import ActionError, ClientError, ConnectionClosedError, DeadlineError
from agentserver.client.websocket import Connection
from agentserver.wire import CloseCode

__all__ = ["ActionResult", "ActionStream", "ActionsConnection"]

_logger = logging.getLogger("agentserver.client")

_BACKLOG = 10_000
"""Frames a stream may be behind: its reader must neither stop the others nor fill the memory."""


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

    def __init__(self, connection: Connection, session_id: str | None, timeout: float) -> None:
        self._connection = connection
        self._session_id = session_id
        self._timeout = timeout
        self._protocol = ClientProtocol()
        self._streams: dict[str, ActionStream] = {}
        self._queries: dict[int, asyncio.Future[Any]] = {}
        self._over: ClientError | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what runs on it ends with :class:`ConnectionClosedError`."""
        await self._connection.close()
        if self._reader is not None:
            await self._reader

    async def closed(self) -> ConnectionClosedError:
        """Wait for the end of the connection, whoever ends it, and return its code and reason.

        Raises:
            RuntimeError: If the connection was not opened.
            ClientError: If something else than a close ended it.
        """
        if self._reader is None:
            raise RuntimeError("the connection is not open: enter it with 'async with'")
        await asyncio.wait({self._reader})
        over = self._over or self._closed(CloseCode.ABNORMAL)
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
            DeadlineError: If the time-out passes first; the invocation is then cancelled.
            ValueError: If the payload or an id cannot be sent.
        """
        async with self.stream(payload, invocation_id=invocation_id, session_id=session_id) as stream:
            try:
                return await asyncio.wait_for(stream.result(), timeout or self._timeout)
            except asyncio.TimeoutError:
                raise DeadlineError(
                    "the agent did not answer within the time-out", invocation_id=stream.invocation_id
                ) from None

    def stream(
        self, payload: Mapping[str, Any], *, invocation_id: str | None = None, session_id: str | None = None
    ) -> ActionStream:
        """Invoke the agent and iterate over the payloads of its answer; one that answers once gives one.

        .. code-block:: python

            async with actions.stream({"prompt": "tell me a story"}) as stream:
                async for payload in stream:
                    print(payload)

        Leaving the block early cancels the invocation. Arguments and errors as for :meth:`invoke`, raised on
        entering the block and while iterating.
        """
        chosen = str(uuid.uuid4()) if invocation_id is None else invocation_id
        return ActionStream(self, Invoke(payload, chosen, session_id or self._session_id), chosen)

    async def get(self, invocation_id: str, *, timeout: float | None = None) -> Any:
        """Return the state of an invocation, as the agent tells it.

        Raises:
            ActionError: ``not_found`` if the agent knows no such invocation or has no ``get``.
        """
        return await self._ask(self._protocol.get(invocation_id), timeout)

    async def cancel(self, invocation_id: str, *, timeout: float | None = None) -> Any:
        """Cancel an invocation, one that streams on this connection included, and return the answer.

        Raises:
            ActionError: ``not_found`` if nothing runs under that id.
        """
        return await self._ask(self._protocol.cancel(invocation_id), timeout)

    async def ping(self, timeout: float = 10.0) -> float:
        """Send a Ping frame and return the seconds until its Pong."""
        return await self._connection.ping(timeout)

    async def _ask(self, query: GetInvocation | CancelInvocation, timeout: float | None) -> Any:
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queries[id(query)] = waiter
        try:
            await self._send(query)
            return await asyncio.wait_for(waiter, timeout or self._timeout)
        except asyncio.TimeoutError:
            raise DeadlineError(
                "the agent did not answer within the time-out", invocation_id=query.invocation_id
            ) from None
        finally:
            del self._queries[id(query)]

    async def _start(self, stream: ActionStream, frame: Invoke) -> None:
        try:
            text = encode_action(frame).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the payload cannot be sent as JSON: {error}") from None
        self._protocol.invoke(frame.payload, invocation_id=frame.invocation_id, session_id=frame.session_id)
        self._streams[stream.invocation_id] = stream
        await self._send_text(text)

    async def _leave(self, stream: ActionStream) -> None:
        """Forget *stream*, and cancel its invocation if it has not ended, without awaiting the answer."""
        if self._streams.pop(stream.invocation_id, None) is None or self._over is not None:
            return
        try:
            await self._send(self._protocol.cancel(stream.invocation_id))
        except ConnectionClosedError:
            return

    async def _send(self, frame: ClientFrame) -> None:
        await self._send_text(encode_action(frame).decode())

    async def _send_text(self, text: str) -> None:
        if self._over is not None:
            raise self._over
        await self._connection.send(text)

    async def _read(self) -> None:
        try:
            async for message in self._connection:
                text = message if isinstance(message, str) else message.decode()
                await self._take(self._protocol.receive(text))
            over: ClientError = self._closed(self._connection.close_code or CloseCode.NORMAL)
        except (FrameError, OrderError, UnicodeDecodeError) as error:
            over = self._closed(CloseCode.PROTOCOL_ERROR, f"the server broke the protocol: {error}")
            await self._connection.close(over.code, str(error))
        except ClientError as error:
            over = error
        self._end(over)

    async def _take(self, event: ClientEvent | None) -> None:
        if isinstance(event, Progress):
            await self._progress(event)
        elif isinstance(event, Answer):
            self._answer(event)
        elif isinstance(event, Notice):
            _logger.warning(
                "The server could not read a frame: %s: %s", event.frame.code, event.frame.message
            )
        elif event is not None and isinstance(event.frame, Pong):
            await self._send(event.frame)

    async def _progress(self, event: Progress) -> None:
        invocation_id = event.frame.invocation_id or ""
        stream = self._streams.get(invocation_id)
        if stream is None:
            return
        if event.last:
            del self._streams[invocation_id]
        if not stream.put(event.frame):
            await self._leave(stream)

    def _answer(self, event: Answer) -> None:
        waiter = self._queries.get(id(event.query))
        if waiter is None or waiter.done():
            return
        if isinstance(event.frame, ErrorFrame):
            waiter.set_exception(_error(event.frame))
        else:
            waiter.set_result(event.frame.payload)

    def _end(self, over: ClientError) -> None:
        self._over = over
        for stream in self._streams.values():
            stream.put(over)
        self._streams.clear()
        for waiter in self._queries.values():
            if not waiter.done():
                waiter.set_exception(over)

    def _closed(self, code: int, reason: str = "") -> ConnectionClosedError:
        return ConnectionClosedError(
            code, reason or self._connection.close_reason, session_id=self._connection.session_id
        )


class ActionStream:
    """One invocation while its answer arrives: an asynchronous context manager, iterated over once.

    ``session_id`` is the server's word once the first frame is there.
    """

    def __init__(self, actions: ActionsConnection, frame: Invoke, invocation_id: str) -> None:
        self._actions = actions
        self._frame = frame
        self._frames: asyncio.Queue[InvocationFrame | ClientError] = asyncio.Queue()
        self._ended = False
        self.invocation_id = invocation_id
        self.session_id = frame.session_id

    async def __aenter__(self) -> Self:
        await self._actions._start(self, self._frame)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._actions._leave(self)

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
        frame = await self._frames.get()
        self._ended = not isinstance(frame, StreamChunk)
        if isinstance(frame, ClientError):
            raise frame
        self.session_id = frame.session_id or self.session_id
        if isinstance(frame, ErrorFrame):
            raise _error(frame)
        return frame

    def put(self, frame: InvocationFrame | ClientError) -> bool:
        """Take *frame* from the connection; False when the reader is so far behind that this is the end."""
        if self._frames.qsize() >= _BACKLOG:
            words = f"the stream is over: its reader was {_BACKLOG} payloads behind"
            self._frames.put_nowait(ClientError(words, invocation_id=self.invocation_id))
            return False
        self._frames.put_nowait(frame)
        return True


def _error(frame: ErrorFrame) -> ActionError:
    return ActionError(
        frame.code, frame.message, invocation_id=frame.invocation_id, session_id=frame.session_id
    )
