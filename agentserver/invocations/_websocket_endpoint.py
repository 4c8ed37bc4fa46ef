"""The endpoint of ``invocations_ws``: accept, run, close, say how it ended (contract, section 5)."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from agentserver._hosting.protocol import HostContext
from agentserver._http.exchange import ConnectionEnd, Exchange
from agentserver._http.ids import new_uuid
from agentserver._http.lifetime import Lifetime
from agentserver._http.router import Route
from agentserver._websocket.aiohttp_internals import release
from agentserver._websocket.connection import WebSocketConnection
from agentserver._websocket.handshake import accept
from agentserver._websocket.response import WebSocket
from agentserver.invocations._handler_factory import HandlerFactory, request_services
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
            request,
            options.websocket_protocols,
            origins=options.websocket_origins,
            compression=options.websocket_compression,
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
            lifetime=self._lifetime,
        )
        session = WebSocketSession(
            WebSocket(handshake), context, self._factory, self._lifetime, options, exchange=exchange
        )
        if self._limiter is None:
            return await session.serve(request, self._keepalive)
        async with self._limiter.slot(session_id):
            return await session.serve(request, self._keepalive)


class WebSocketSession:
    """One connection, from the 101 to its close event.

    Args:
        websocket: The accepted upgrade.
        context: Its ids.
        factory: Makes the handler.
        lifetime: The life of the process.
        options: Limits.
        exchange: The request, which is told how it ended.
    """

    __slots__ = (
        "_cause",
        "_context",
        "_error",
        "_exchange",
        "_factory",
        "_grace",
        "_is_cancelled",
        "_is_reported",
        "_lifetime",
        "_loop",
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
        self._loop = asyncio.get_running_loop()
        self._started = time.perf_counter()
        self._task: asyncio.Task[object] | None = None
        self._is_cancelled = self._is_reported = False
        self._grace: asyncio.TimerHandle | None = None
        self._error: ErrorCode | None = None
        self._cause: BaseException | None = None

    async def serve(self, request: web.Request, ping_interval: float) -> WebSocket:
        """Accept, run the handler, close and report."""
        observation = self._exchange.observation
        traffic = None if observation is None else observation.traffic
        try:
            connection = await self._websocket.open(
                request,
                max_size=self._options.websocket_max_message_size,
                close_timeout=self._options.websocket_close_timeout,
                ping_interval=ping_interval,
                traffic=traffic,
                watched=self._lifetime,
                on_end=self._client_ended,
            )
        except BaseException as error:
            self._error, self._cause = ErrorCode.ACCEPT_FAILED, error
            self._report(CloseCode.ABNORMAL)
            if isinstance(error, ConnectionError):
                return self._websocket
            raise
        if connection.lost.done():
            self._error = ErrorCode.ACCEPT_FAILED
            self._report(CloseCode.ABNORMAL)
            return self._websocket
        if traffic is not None:
            traffic.connections += 1
        self._lifetime.add_listener(self._go_away)
        try:
            await self._run(request, connection)
            await self._until_lost(connection)
        finally:
            self._lifetime.remove_listener(self._go_away)
            if traffic is not None:
                traffic.connections -= 1
            self._report(connection.close_code)
            # This cancels the request's task: not before that is done.
            if not self._loop.is_closed():
                self._loop.call_soon(release, request)
        return self._websocket

    async def _run(self, request: web.Request, connection: WebSocketConnection) -> None:
        self._task = asyncio.current_task()
        code, reason = CloseCode.NORMAL, ""
        try:
            await self._call_handler(request)
        except asyncio.CancelledError as error:
            if self._was_cancelled():
                self._error = ErrorCode.CANCELLED
                code = CloseCode.GOING_AWAY
            else:
                code, reason = self._failed(error)
        except ConnectionError as error:
            if not connection.close_sent:
                code, reason = self._failed(error)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        # The boundary of user code: whatever a handler raises becomes a close code, and stops here.
        except BaseException as error:  # noqa: BLE001
            code, reason = self._failed(error)
        finally:
            self._task = None
            if self._grace is not None:
                self._grace.cancel()
        connection.close(code, reason)

    async def _call_handler(self, request: web.Request) -> None:
        if not self._factory.needs_scope:
            handler: Any = self._factory.create()
            await handler.handle_websocket(self._websocket, self._context)
            return
        async with self._factory.scope(request_services(request, self._context)) as handler:
            await handler.handle_websocket(self._websocket, self._context)

    def _failed(self, error: BaseException) -> tuple[CloseCode, str]:
        logger.error("the WebSocket handler failed", exc_info=error)
        self._error, self._cause = ErrorCode.INTERNAL_ERROR, error
        return CloseCode.INTERNAL_ERROR, INTERNAL_ERROR_MESSAGE

    async def _until_lost(self, connection: WebSocketConnection) -> None:
        try:
            await asyncio.shield(connection.lost)
        except asyncio.CancelledError:
            connection.abort()
            _uncancel()

    # --- the end of the connection, as the handler's task sees it

    def _client_ended(self, is_abrupt: bool) -> None:
        if is_abrupt:
            self._cancel()
        elif not self._lifetime.shutting_down.is_set():
            self._grace = self._loop.call_later(self._options.websocket_close_timeout, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._is_cancelled = True
            self._task.cancel()

    def _was_cancelled(self) -> bool:
        from_outside = self._is_cancelled or self._lifetime.aborting or _is_being_cancelled()
        if from_outside:
            _uncancel()
        return from_outside

    def _go_away(self) -> None:
        self._websocket.connection.close(CloseCode.GOING_AWAY)

    def _report(self, close_code: int | None) -> None:
        """Say how the connection ended, with the fields that the contract names."""
        if self._is_reported:
            return
        self._is_reported = True
        code = CloseCode.ABNORMAL if close_code is None else int(close_code)
        fields: dict[str, Any] = {
            WS_SESSION_ID_FIELD: self._context.session_id,
            WS_CLOSE_CODE_FIELD: int(code),
            WS_DURATION_FIELD: round((time.perf_counter() - self._started) * 1000, 1),
        }
        error_code = "" if self._error is None else self._error.value
        if error_code:
            fields[WS_ERROR_CODE_FIELD] = error_code
        self._exchange.connection_end = ConnectionEnd(int(code), error_code, self._cause)
        logger.info("invocations_ws connection closed", extra=fields)


def _is_being_cancelled() -> bool:
    if sys.version_info < (3, 11):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _uncancel() -> None:
    if sys.version_info >= (3, 11) and (task := asyncio.current_task()) is not None:
        task.uncancel()
