"""One connection of the action protocol: reads actions, runs them side by side, writes frames."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol, TypeGuard

from aiohttp import WSMessage, WSMsgType

from agentserver._websocket.response import WebSocket
from agentserver.actions._codec import encode_message
from agentserver.actions._observation import Observation
from agentserver.actions._protocol import (
    Invocation,
    Phase,
    Query,
    Respond,
    ServerEvent,
    ServerProtocol,
    Start,
)
from agentserver.actions._writer import ConnectionEndedError, FrameWriter
from agentserver.actions.context import ActionContext
from agentserver.actions.frames import CancelInvocation, GetInvocation, Ping
from agentserver.errors import Failure
from agentserver.invocations.context import InvocationContext

__all__ = ["ActionConnection", "Actions"]

_QUERIES: Final[Mapping[type[GetInvocation | CancelInvocation], str]] = {
    GetInvocation: "get_invocation",
    CancelInvocation: "cancel_invocation",
}
_PING: Final = encode_message(Ping())


class Actions(Protocol):
    """What a connection asks of a handler."""

    max_concurrent_invocations: int
    ping_interval: float

    def invoke(
        self, payload: Mapping[str, Any], context: ActionContext
    ) -> Awaitable[Any] | AsyncIterator[Any]:
        """Run an invocation."""
        ...

    async def get_invocation(self, context: ActionContext) -> Any:
        """Answer a get."""
        ...

    async def cancel_invocation(self, context: ActionContext) -> Any:
        """Answer a cancel."""
        ...


class ActionConnection:
    """Speaks the action protocol on one open WebSocket.

    Args:
        handler: Answers the actions.
        websocket: The open connection.
        context: The connection's context.
    """

    def __init__(self, handler: Actions, websocket: WebSocket, context: InvocationContext) -> None:
        self._handler = handler
        self._websocket = websocket
        self._context = context
        self._protocol = ServerProtocol(
            limit=handler.max_concurrent_invocations, session_id=context.session_id
        )
        self._writer = FrameWriter(websocket)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._last_query: dict[str, asyncio.Task[None]] = {}
        self._ending = False

    async def run(self) -> None:
        """Serve until the connection ends; then every invocation has been cancelled and has ended."""
        if self._handler.ping_interval:
            self._pinging = self._spawn(self._ping(self._handler.ping_interval))
        try:
            with suppress(ConnectionEndedError):
                async for message in self._websocket:
                    await self._take(message)
        finally:
            self._writer.close()
            await self._stop()

    async def _take(self, message: WSMessage) -> None:
        event: ServerEvent | None = None
        if message.type is WSMsgType.TEXT:
            event = self._protocol.receive(message.data)
        elif message.type is WSMsgType.BINARY:
            event = self._protocol.receive_binary()
        if isinstance(event, Start):
            self._running[event.invocation.invocation_id] = self._spawn(self._run(event))
        elif isinstance(event, Query):
            previous = self._last_query.get(event.frame.invocation_id)
            self._last_query[event.frame.invocation_id] = self._spawn(self._answer(event, previous))
        elif isinstance(event, Respond):
            await self._writer.put(encode_message(event.frame))

    async def _ping(self, interval: float) -> None:
        with suppress(ConnectionEndedError):
            while True:
                await asyncio.sleep(interval)
                await self._writer.put(_PING)

    # --- Invocations

    async def _run(self, start: Start) -> None:
        invocation = start.invocation
        context = self._context_of(invocation.invocation_id, invocation.session_id)
        try:
            with suppress(ConnectionEndedError), Observation("invoke", context) as observation:
                last = await self._invoke(invocation, start.payload, context, observation)
                await self._writer.put(last)
        finally:
            del self._running[invocation.invocation_id]
            self._protocol.release(start)

    async def _invoke(
        self,
        invocation: Invocation,
        payload: Mapping[str, Any],
        context: ActionContext,
        observation: Observation,
    ) -> bytes:
        try:
            result: Any = self._handler.invoke(payload, context)
            if inspect.isawaitable(result):
                result = await result
            if not _is_stream(result):
                return invocation.result(result)
            await self._stream(invocation, result)
            return invocation.end()
        except ConnectionEndedError:
            raise
        except asyncio.CancelledError as error:
            if self._ending:
                raise
            if invocation.phase is Phase.CANCELLING:
                observation.cancelled()
                return invocation.end()
            return _told(observation.failed(error), invocation.error)
        # The boundary of user code: whatever a handler raises becomes a frame, and stops here.
        except Exception as error:  # noqa: BLE001
            return _told(observation.failed(error), invocation.error)

    async def _stream(self, invocation: Invocation, items: AsyncIterator[Any]) -> None:
        try:
            async for item in items:
                await self._writer.put(invocation.chunk(item))
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()

    async def _cancel(self, invocation_id: str) -> bool:
        invocation = self._protocol.invocations.get(invocation_id)
        if invocation is None:
            return False
        first = invocation.phase is not Phase.CANCELLING
        if not invocation.cancel():
            return False
        task = self._running[invocation_id]
        if first:
            task.cancel()
        await asyncio.wait([task])
        return True

    # --- Gets and cancels

    async def _answer(self, query: Query, previous: asyncio.Task[None] | None) -> None:
        invocation_id = query.frame.invocation_id
        try:
            with suppress(ConnectionEndedError):
                await self._ask(query, previous)
        finally:
            if self._last_query.get(invocation_id) is asyncio.current_task():
                del self._last_query[invocation_id]
            self._protocol.release(query)

    async def _ask(self, query: Query, previous: asyncio.Task[None] | None) -> None:
        context = self._context_of(query.frame.invocation_id, query.session_id)
        operation = _QUERIES[type(query.frame)]
        with Observation(operation, context) as observation:
            answer = await self._answer_of(query, getattr(self._handler, operation)(context), observation)
            if previous is not None:
                await asyncio.wait([previous])
            await self._writer.put(answer)

    async def _answer_of(self, query: Query, asked: Awaitable[Any], observation: Observation) -> bytes:
        try:
            return query.result(await asked)
        except asyncio.CancelledError as error:
            if self._ending:
                raise
            return _told(observation.failed(error), query.error)
        # As for an invocation.
        except Exception as error:  # noqa: BLE001
            return _told(observation.failed(error), query.error)

    # --- What both have in common

    def _context_of(self, invocation_id: str, session_id: str) -> ActionContext:
        return ActionContext(
            invocation_id=invocation_id,
            session_id=session_id,
            headers=self._context._headers,
            query=self._context.query_parameters,
            lifetime=self._context._lifetime,
            cancel=partial(self._cancel, invocation_id),
        )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _stop(self) -> None:
        self._ending = True
        for task in self._tasks:
            task.cancel()
        interrupted: asyncio.CancelledError | None = None
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError as error:
                # That the client is gone is no reason to leave an invocation in the midst of its cleaning up.
                interrupted = error
        if interrupted is not None:
            raise interrupted


def _is_stream(result: Any) -> TypeGuard[AsyncIterator[Any]]:
    return isinstance(result, AsyncIterator)


def _told(failure: Failure, write: Callable[[str, str], bytes]) -> bytes:
    return write(failure.code, failure.message)
