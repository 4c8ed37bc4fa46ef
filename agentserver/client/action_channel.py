"""One WebSocket that speaks actions: what is under way on it, from its opening to its end.

A task of the channel's own reads. What it reads goes to a `ClientProtocol`, which keeps the order of frames
and says what each is about: the progress of an invocation goes to its listener, the answer to a query to
the future of whoever asked. Neither may stop the reading, so a listener takes frames without waiting and
says when it can take no more; only that one loses its stream.

The protocol answers queries about one invocation in the order in which they were made. So a frame is made
and handed to the connection in one go, with no wait in between, and the connection keeps that order. A
caller that gives up while its frame waits for a peer that does not read has sent it all the same; whoever
leaves an invocation before its end therefore cancels it, in a task that ends with the channel, for the
leaver must not wait either.

The end comes in one place, when the reading ends: by a close, a break, or a server that breaks the protocol
(it is left with 1002). Then `end` says how, and every listener and every future is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from agentserver.actions._client_protocol import ClientEvent, ClientProtocol, Notice, Progress, QueryAnswer
from agentserver.actions._codec import encode_action
from agentserver.actions._state import OrderError
from agentserver.actions.frames import (
    ClientFrame,
    ErrorFrame,
    FrameError,
    GetInvocation,
    InvocationFrame,
    Invoke,
    Pong,
    Query,
    SignalInvocation,
)
from agentserver.client.errors import ActionError, ClientError, ConnectionClosedError
from agentserver.client.websocket import Connection
from agentserver.wire import CloseCode

__all__ = ["ActionChannel", "Listener", "action_error"]

_logger = logging.getLogger("agentserver.client")


class Listener(Protocol):
    """Takes what the server says about one invocation."""

    invocation_id: str

    @property
    def goes_on(self) -> bool:
        """Whether its invocation is to go on without it, as a durable run does."""
        ...

    def put(self, frame: InvocationFrame | ClientError, size: int) -> bool:
        """Take *frame*, of *size* characters; False when that was the last it can take."""
        ...


class ActionChannel:
    """Sends actions and hands out their answers until the connection ends; nothing outlives it.

    Args:
        connection: The WebSocket, open.
        on_message: Called for each message that comes.
    """

    def __init__(self, connection: Connection, on_message: Callable[[], None]) -> None:
        self._connection = connection
        self._on_message = on_message
        self._protocol = ClientProtocol()
        self._listeners: dict[str, Listener] = {}
        self._queries: dict[int, asyncio.Future[Any]] = {}
        self._cancels: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read())
        self.end: ClientError | None = None

    async def close(self) -> None:
        """Close the connection; what is under way fails."""
        await self._connection.close()
        await asyncio.gather(self._reader, *self._cancels)

    async def ended(self) -> ClientError:
        """Wait for the end of the connection, and say how it came."""
        await asyncio.wait({self._reader})
        return self.end or self._closed(CloseCode.ABNORMAL)

    async def start(self, listener: Listener, frame: Invoke | GetInvocation) -> None:
        """Send an invocation, or ask for the events of a run: the frames go to *listener*."""
        text = _text_of(frame)
        if isinstance(frame, GetInvocation):
            self._protocol.read(frame.invocation_id, frame.last_event_id or 0)
        else:
            self._protocol.invoke(
                frame.payload, invocation_id=frame.invocation_id, session_id=frame.session_id
            )
        self._listeners[listener.invocation_id] = listener
        try:
            await self._send_text(text)
        except BaseException:  # who did not get in does not leave either
            await self.leave(listener)
            raise

    async def leave(self, listener: Listener) -> None:
        """Forget *listener*, and cancel its invocation, unless that goes on or has ended; await no answer."""
        if self._listeners.pop(listener.invocation_id, None) is None or self.end is not None:
            return
        if listener.goes_on:
            return
        # A peer that does not read must not hold who leaves; but what that one sends next comes after it.
        task = asyncio.create_task(self._cancel(listener.invocation_id))
        self._cancels.add(task)
        task.add_done_callback(self._cancels.discard)
        await asyncio.sleep(0)

    async def _cancel(self, invocation_id: str) -> None:
        with suppress(ClientError):
            await self._send(self._protocol.cancel(invocation_id))

    async def get(self, invocation_id: str) -> Any:
        """Ask for the state of an invocation."""
        return await self._ask(self._protocol.get(invocation_id))

    async def cancel(self, invocation_id: str) -> Any:
        """Cancel an invocation."""
        return await self._ask(self._protocol.cancel(invocation_id))

    async def signal(self, invocation_id: str, name: str, payload: Any) -> Any:
        """Give a durable run a signal."""
        _ = _text_of(SignalInvocation(invocation_id, name, payload))  # what cannot be sent has no answer
        return await self._ask(self._protocol.signal(invocation_id, name, payload))

    async def list(self, which: Mapping[str, Any]) -> Any:
        """Ask for durable runs."""
        return await self._ask(self._protocol.list(which))

    async def ping(self, timeout: float) -> float:
        """Send a Ping frame and return the seconds until its Pong."""
        return await self._connection.ping(timeout)

    async def _ask(self, query: Query) -> Any:
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(_seen)  # the sending may fail first
        self._queries[id(query)] = waiter
        try:
            await self._send(query)
            return await waiter
        finally:
            del self._queries[id(query)]

    async def _send(self, frame: ClientFrame) -> None:
        await self._send_text(encode_action(frame).decode())

    async def _send_text(self, text: str) -> None:
        if self.end is not None:
            raise self.end
        await self._connection.send(text)

    async def _read(self) -> None:
        try:
            async for message in self._connection:
                self._on_message()
                text = message if isinstance(message, str) else message.decode()
                await self._take(self._protocol.receive(text), len(text))
            end: ClientError = self._closed(self._connection.close_code or CloseCode.NORMAL)
        except (FrameError, OrderError, UnicodeDecodeError) as error:
            end = self._closed(CloseCode.PROTOCOL_ERROR, f"the server broke the protocol: {error}")
            await self._connection.close(CloseCode.PROTOCOL_ERROR, str(error))
        except ClientError as error:
            end = error
        self._finish(end)

    async def _take(self, event: ClientEvent | None, size: int) -> None:
        if isinstance(event, Progress):
            await self._progress(event, size)
        elif isinstance(event, QueryAnswer):
            self._answer(event)
        elif isinstance(event, Notice):
            _logger.warning(
                "The server could not read a frame: %s: %s", event.frame.code, event.frame.message
            )
        elif event is not None and isinstance(event.frame, Pong):
            await self._send(event.frame)

    async def _progress(self, event: Progress, size: int) -> None:
        invocation_id = event.frame.invocation_id or ""
        listener = self._listeners.get(invocation_id)
        if listener is None:
            return
        if event.last:
            del self._listeners[invocation_id]
        if not listener.put(event.frame, size):
            await self.leave(listener)

    def _answer(self, event: QueryAnswer) -> None:
        waiter = self._queries.get(id(event.query))
        if waiter is None or waiter.done():
            return
        if isinstance(event.frame, ErrorFrame):
            waiter.set_exception(action_error(event.frame))
        else:
            waiter.set_result(event.frame.payload)

    def _finish(self, end: ClientError) -> None:
        self.end = end
        for listener in self._listeners.values():
            listener.put(end, 0)
        self._listeners.clear()
        for waiter in self._queries.values():
            if not waiter.done():
                waiter.set_exception(end)

    def _closed(self, code: int, reason: str = "") -> ConnectionClosedError:
        return ConnectionClosedError(
            code, reason or self._connection.close_reason, session_id=self._connection.session_id
        )


def _text_of(frame: Invoke | GetInvocation | SignalInvocation) -> str:
    try:
        return encode_action(frame).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the payload cannot be sent as JSON: {error}") from None


def _seen(waiter: asyncio.Future[Any]) -> None:
    """Keep asyncio from reporting an error of *waiter* that nobody awaited."""
    if not waiter.cancelled():
        waiter.exception()


def action_error(frame: ErrorFrame) -> ActionError:
    """The error that *frame* says."""
    return ActionError(
        frame.code, frame.message, invocation_id=frame.invocation_id, session_id=frame.session_id
    )
