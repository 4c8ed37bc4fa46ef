"""One connection of the action protocol: reads actions, runs them side by side, writes frames.

How it works. `run` reads the connection's messages and asks `ServerProtocol` what each means. Every `invoke`
and every get or cancel gets a task of its own, made here, in the context of the connection: what one action
sets in its context no other sees. A task's frames go through one `FrameWriter`, which bounds what a
connection sends in a round of the event loop; a slow reader makes the tasks wait there. Of two queries about
one id the second waits for the first before it answers.

A ``cancel_invocation`` cancels the task; whatever the handler does then, the last frame is the error
``cancelled``. When the connection ends, `run` cancels all tasks and returns once every one of them has ended,
also if it is cancelled itself meanwhile. Whatever a handler raises becomes a frame, and is logged unless the
handler meant it; only `KeyboardInterrupt` goes on to the process.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from contextvars import Token
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Protocol, TypeGuard

from aiohttp import WSMessage, WSMsgType
from typing_extensions import Self

from agentserver._telemetry.correlation import CurrentRequest, current_request
from agentserver._telemetry.observer import ActionObservation
from agentserver._websocket.response import WebSocket
from agentserver.actions._codec import encode_message
from agentserver.actions._frame_writer import ConnectionEndedError, FrameWriter
from agentserver.actions._server_protocol import (
    Invocation,
    Query,
    ServerEvent,
    ServerProtocol,
    Start,
)
from agentserver.actions._state import Phase, Respond
from agentserver.actions.context import ActionContext
from agentserver.actions.frames import (
    CancelInvocation,
    GetInvocation,
    ListInvocations,
    Ping,
    SignalInvocation,
)
from agentserver.errors import Failure, classify
from agentserver.invocations.context import InvocationContext
from agentserver.wire import ErrorCode

__all__ = ["ActionServerConnection", "Actions", "ObservedAction", "is_stream"]

_QUERIES: Final[Mapping[type, str]] = {
    GetInvocation: "get_invocation",
    CancelInvocation: "cancel_invocation",
    SignalInvocation: "signal_invocation",
    ListInvocations: "list_invocations",
}
_PING: Final = encode_message(Ping())

logger = logging.getLogger("agentserver.actions")


class Actions(Protocol):
    """What a connection asks of a handler."""

    max_concurrent_invocations: int
    ping_interval: float

    @property
    def _durable_actions(self) -> DurableActions | None:
        """Answers what can be asked of durable runs alone; ``None`` if there are none."""
        ...

    def invoke(self, payload: Any, context: ActionContext) -> Awaitable[Any] | AsyncIterator[Any]:
        """Run an invocation."""
        ...

    async def get_invocation(self, context: ActionContext) -> Any:
        """Answer a get."""
        ...

    async def cancel_invocation(self, context: ActionContext) -> Any:
        """Answer a cancel."""
        ...


class DurableActions(Protocol):
    """What a connection asks of durable runs."""

    def begin(self, payload: Mapping[str, Any], key: str | None, context: ActionContext) -> Awaitable[Any]:
        """Begin a run, or join the one of that id or *key*."""
        ...

    def events(self, after: int, context: ActionContext) -> AsyncIterator[Any]:
        """The events of a run above the id *after*."""
        ...

    async def answer(self, query: SignalInvocation | ListInvocations, context: ActionContext) -> Any:
        """Answer *query*."""
        ...


class ActionServerConnection:
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
            limit=handler.max_concurrent_invocations,
            session_id=context.session_id,
            durable=handler._durable_actions is not None,
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
        operation = "invoke" if start.after is None else "get_invocation"
        context = self._context_of(invocation.invocation_id, invocation.session_id)
        try:
            with suppress(ConnectionEndedError), ObservedAction(operation, context) as observation:
                last = await self._invoke(start, context, observation)
                await self._writer.put(last)
        finally:
            del self._running[invocation.invocation_id]
            self._protocol.release(start)

    async def _invoke(
        self,
        start: Start,
        context: ActionContext,
        observation: ObservedAction,
    ) -> bytes:
        invocation = start.invocation
        try:
            result: Any = self._begin(start, context)
            if inspect.isawaitable(result):
                result = await result
            if not is_stream(result):
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
            return _error_frame(observation.failed(error), invocation.error)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        # The boundary of user code: whatever a handler raises becomes a frame, and stops here.
        except BaseException as error:  # noqa: BLE001
            return _error_frame(observation.failed(error), invocation.error)

    def _begin(self, start: Start, context: ActionContext) -> Any:
        durable = self._handler._durable_actions
        if durable is None:
            return self._handler.invoke(start.payload, context)
        if start.after is None:
            return durable.begin(start.payload, start.key, context)
        return durable.events(start.after, context)

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
        with ObservedAction(operation, context) as observation:
            answer = await self._answer_of(query, self._asked(query, operation), context, observation)
            if previous is not None:
                await asyncio.wait([previous])
            await self._writer.put(answer)

    def _asked(self, query: Query, operation: str) -> Callable[[ActionContext], Awaitable[Any]]:
        durable = self._handler._durable_actions
        if durable is None or not isinstance(query.frame, (SignalInvocation, ListInvocations)):
            ask: Callable[[ActionContext], Awaitable[Any]] = getattr(self._handler, operation)
            return ask
        return partial(durable.answer, query.frame)

    async def _answer_of(
        self,
        query: Query,
        ask: Callable[[ActionContext], Awaitable[Any]],
        context: ActionContext,
        observation: ObservedAction,
    ) -> bytes:
        try:
            return query.result(await ask(context))
        except asyncio.CancelledError as error:
            if self._ending:
                raise
            return _error_frame(observation.failed(error), query.error)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        # As for an invocation.
        except BaseException as error:  # noqa: BLE001
            return _error_frame(observation.failed(error), query.error)

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


def is_stream(result: Any) -> TypeGuard[AsyncIterator[Any]]:
    """Whether *result* is several answers."""
    return isinstance(result, AsyncIterator)


def _error_frame(failure: Failure, write: Callable[[str, str, Mapping[str, object]], bytes]) -> bytes:
    return write(failure.code, failure.message, failure.details)


class ObservedAction:
    """Around one action, in the task that serves it: log records and spans made there carry its ids.

    An exception that leaves it means that the connection is gone. At level ``DEBUG`` each action leaves a
    line in the log that says how it ended.

    Args:
        operation: ``invoke``, ``get_invocation`` or ``cancel_invocation``.
        context: The ids.
    """

    def __init__(self, operation: str, context: InvocationContext) -> None:
        self._operation = operation
        self._context = context
        self._observation: ActionObservation | None = None
        self._error: BaseException | None = None
        self._code = ""
        self._ended = "done"
        self._started = perf_counter()
        self._before: Token[CurrentRequest | None] | None = None

    def __enter__(self) -> Self:
        connection = current_request.get()
        if connection is None:
            return self
        ids = {"invocation_id": self._context.invocation_id, "session_id": self._context.session_id}
        action = CurrentRequest(connection.request_id, connection.incoming, connection.parent)
        action.correlation = ids
        self._before = current_request.set(action)
        if connection.observation is not None:
            self._observation = connection.observation.action(self._operation, **ids)
        return self

    def failed(self, error: BaseException) -> Failure:
        """The handler failed; an error that it did not mean to tell the client goes to the log."""
        failure = classify(error)
        self._error, self._code = error, failure.code
        self._ended = f"{failure.code}: {failure.message}"
        if not failure.expected:
            logger.error("%s failed", self._operation, exc_info=error)
        return failure

    def cancelled(self) -> None:
        """The client has cancelled it."""
        self._code = self._ended = ErrorCode.CANCELLED.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is GeneratorExit:
            return  # The loop is gone, and with it the context and whoever would be told.
        if error is not None:
            self.cancelled()
        if self._observation is not None:
            self._observation.end(self._error, self._code)
        milliseconds = (perf_counter() - self._started) * 1000
        logger.debug("%s %s after %.1f ms", self._operation, self._ended, milliseconds)
        if self._before is not None:
            current_request.reset(self._before)
