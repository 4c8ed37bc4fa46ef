"""The endpoint of ``invocations_ws``: accept, run, close, say how it ended (contract, section 5)."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from agentserver._hosting.protocol import HostContext
from agentserver._http.exchange import Exchange
from agentserver._http.ids import new_uuid
from agentserver._http.lifetime import Lifetime
from agentserver._http.router import Route
from agentserver._websocket.connection import Link
from agentserver._websocket.handshake import accept
from agentserver._websocket.keepalive import Keepalive
from agentserver._websocket.response import WebSocket
from agentserver.invocations._handler_factory import HandlerFactory
from agentserver.invocations._ids import first_valid
from agentserver.invocations.context import InvocationContext
from agentserver.invocations.options import InvocationsServerOptions
from agentserver.wire import (
    INTERNAL_ERROR_MESSAGE,
    SESSION_ID_HEADER,
    SESSION_ID_QUERY,
    WS_CLOSE_CODE_FIELD,
    WS_DURATION_FIELD,
    WS_ERROR_CODE_FIELD,
    WS_SESSION_ID_FIELD,
    CloseCode,
    ErrorCode,
)

logger = logging.getLogger("agentserver")


class WebSocketEndpoint:
    """Serves the handler's WebSocket.

    Args:
        factory: Makes the handler object of a connection.
        host: The host that is served.
        options: Limits.
    """

    def __init__(self, factory: HandlerFactory, host: HostContext, options: InvocationsServerOptions) -> None:
        self._factory = factory
        self._options = options
        self._lifetime = host.lifetime
        self._limiter = host.limiter
        self._session_id = host.environment.session_id
        self._keepalive = host.environment.ws_keepalive_interval

    def routes(self, paths: Iterable[str]) -> list[Route]:
        """The routes of the transport."""
        return [Route(path, "websocket", {"GET": self.serve}) for path in paths]

    async def serve(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``GET /invocations_ws``; returns when the connection is gone."""
        options = self._options
        handshake = accept(
            request.headers, options.websocket_protocols, compression=options.websocket_compression
        )
        invocation_id = new_uuid()
        session_id = first_valid(self._session_id, request.query.get(SESSION_ID_QUERY))
        exchange.identify(
            {"invocation_id": invocation_id, "session_id": session_id}, {SESSION_ID_HEADER: session_id}
        )
        context = InvocationContext(
            invocation_id=invocation_id,
            session_id=session_id,
            headers=request.headers,
            query=request.query,
            shutting_down=self._lifetime.shutting_down,
        )
        websocket = WebSocket(handshake, options)
        connection = Connection(websocket, context, self._factory, self._lifetime, options, exchange=exchange)
        if self._limiter is None:
            await connection.serve(request, self._keepalive)
        else:
            async with self._limiter.slot(session_id):
                await connection.serve(request, self._keepalive)
        return websocket


@dataclass(frozen=True)
class CloseEvent:
    """How a connection ended.

    Args:
        session_id: The session it belonged to.
        close_code: The code that was really exchanged.
        duration_ms: Milliseconds from the request to the end.
        error_code: What failed, if something did.
    """

    session_id: str
    close_code: int
    duration_ms: float
    error_code: ErrorCode | None = None

    def fields(self) -> dict[str, Any]:
        """The fields of the log line, as the contract names them."""
        fields: dict[str, Any] = {
            WS_SESSION_ID_FIELD: self.session_id,
            WS_CLOSE_CODE_FIELD: self.close_code,
            WS_DURATION_FIELD: round(self.duration_ms, 1),
        }
        if self.error_code is not None:
            fields[WS_ERROR_CODE_FIELD] = self.error_code.value
        return fields


class Connection:
    """One connection, from the 101 to its close event."""

    __slots__ = (
        "_cancelled",
        "_context",
        "_error",
        "_event",
        "_exchange",
        "_factory",
        "_grace",
        "_lifetime",
        "_options",
        "_started",
        "_task",
        "_websocket",
    )

    def __init__(
        self,
        websocket: WebSocket,
        context: InvocationContext,
        factory: HandlerFactory,
        lifetime: Lifetime,
        options: InvocationsServerOptions,
        *,
        exchange: Exchange,
    ) -> None:
        self._exchange = exchange
        self._websocket = websocket
        self._context = context
        self._factory = factory
        self._lifetime = lifetime
        self._options = options
        self._started = time.perf_counter()
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False
        self._grace: asyncio.TimerHandle | None = None
        self._error: ErrorCode | None = None
        self._event: CloseEvent | None = None

    async def serve(self, request: web.Request, ping_interval: float) -> None:
        """Accept, run the handler, close and report."""
        try:
            await self._websocket.prepare(request)
        except BaseException as error:
            self._error, self._exchange.error = ErrorCode.ACCEPT_FAILED, error
            self._report(CloseCode.ABNORMAL)
            if isinstance(error, ConnectionError):
                return
            raise
        link = self._websocket.link
        link.on_end = self._ended
        observation = self._exchange.observation
        traffic = link.traffic = None if observation is None else observation.traffic
        _take_over(request, link)
        if link.lost.done():
            self._error = ErrorCode.ACCEPT_FAILED
            self._report(CloseCode.ABNORMAL)
            return
        if traffic is not None:
            traffic.connections += 1
        self._lifetime.add_listener(self._go_away)
        keepalive = Keepalive(link, ping_interval) if ping_interval else None
        try:
            await self._run()
            await self._until_lost(link)
        finally:
            self._lifetime.remove_listener(self._go_away)
            if traffic is not None:
                traffic.connections -= 1
            if keepalive is not None:
                keepalive.stop()
            self._report(link.close_code)
            # aiohttp cancels the request's task when it learns of the end: not before that is done.
            asyncio.get_running_loop().call_soon(request.protocol.connection_lost, None)

    async def _run(self) -> None:
        link = self._websocket.link
        self._task = asyncio.current_task()
        code, reason = CloseCode.NORMAL, b""
        try:
            await self._call_handler()
        except asyncio.CancelledError as error:
            if self._was_cancelled():
                self._error = ErrorCode.CANCELLED
                code = CloseCode.GOING_AWAY
            else:
                code, reason = self._failed(error)
        except ConnectionError as error:
            if not link.over:
                code, reason = self._failed(error)
        # The boundary of user code: whatever a handler raises becomes a close code, and stops here.
        except Exception as error:  # noqa: BLE001
            code, reason = self._failed(error)
        finally:
            self._task = None
            if self._grace is not None:
                self._grace.cancel()
        link.close(code, reason)

    async def _call_handler(self) -> None:
        if not self._factory.needs_scope:
            handler: Any = self._factory.create()
            await handler.handle_websocket(self._websocket, self._context)
            return
        async with self._factory.scope() as handler:
            await handler.handle_websocket(self._websocket, self._context)

    def _failed(self, error: BaseException) -> tuple[CloseCode, bytes]:
        logger.error("the WebSocket handler failed", exc_info=error)
        self._error, self._exchange.error = ErrorCode.INTERNAL_ERROR, error
        return CloseCode.INTERNAL_ERROR, INTERNAL_ERROR_MESSAGE.encode()

    async def _until_lost(self, link: Link) -> None:
        try:
            await asyncio.shield(link.lost)
        except asyncio.CancelledError:
            link.give_up()
            _uncancel()

    # --- the end of the connection, as the handler's task sees it

    def _ended(self, abrupt: bool) -> None:
        if abrupt:
            self._cancel()
        elif not self._lifetime.shutting_down.is_set():
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(self._options.websocket_close_timeout, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._cancelled = True
            self._task.cancel()

    def _was_cancelled(self) -> bool:
        from_outside = self._cancelled or self._lifetime.aborting or _is_being_cancelled()
        if from_outside:
            _uncancel()
        return from_outside

    def _go_away(self) -> None:
        self._websocket.link.close(CloseCode.GOING_AWAY)

    def _report(self, close_code: int | None) -> None:
        if self._event is not None:
            return
        self._event = CloseEvent(
            self._context.session_id,
            CloseCode.ABNORMAL if close_code is None else int(close_code),
            (time.perf_counter() - self._started) * 1000,
            self._error,
        )
        self._exchange.close_code = self._event.close_code
        self._exchange.error_code = "" if self._error is None else self._error.value
        logger.info("invocations_ws connection closed", extra=self._event.fields())


class _Tail:
    """What aiohttp takes for the parser of the upgraded connection: it hands over what came too early."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._link.data_received(data)
        return False, b""

    def feed_eof(self) -> None:
        return


def _take_over(request: web.Request, link: Link) -> None:
    """Give *link* what the connection receives from now on, and what it has received behind the request."""
    protocol, transport = request.protocol, request.transport
    protocol.keep_alive(False)
    if transport is None or transport.is_closing():
        link.connection_lost(None)
        return
    transport.set_protocol(link)
    protocol.set_parser(_Tail(link))  # type: ignore[arg-type]  # it has what is used of a parser


def _is_being_cancelled() -> bool:
    if sys.version_info < (3, 11):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _uncancel() -> None:
    if sys.version_info >= (3, 11) and (task := asyncio.current_task()) is not None:
        task.uncancel()
