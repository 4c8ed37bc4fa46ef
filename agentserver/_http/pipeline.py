"""The way of every request through the host: ids, limits, dispatch, errors, the log line."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from agentserver._http.error_response import error_response, failure_of
from agentserver._http.exchange import (
    EXCHANGE,
    Exchange,
    resolve_request_id,
)
from agentserver._http.lifetime import Lifetime
from agentserver._http.router import RouteTable
from agentserver._http.sse_keepalive import SseKeepAlive
from agentserver._http.writer import HostWriter
from agentserver._telemetry.correlation import current_request
from agentserver._telemetry.observer import OPENTELEMETRY, Observer, RequestEnd
from agentserver._telemetry.request_log import log_request
from agentserver._telemetry.trace_context import trace_parent
from agentserver.errors import Failure, PayloadTooLargeError, classify
from agentserver.wire import TRACEPARENT_HEADER, ErrorCode, ErrorSource

logger = logging.getLogger("agentserver")

CLIENT_CLOSED_REQUEST: Final = 499  # nginx's word for a client that left; it is only ever logged
_NOT_FOUND: Final = Failure(404, ErrorCode.NOT_FOUND.value, "Not found", ErrorSource.USER)
_SHUTTING_DOWN: Final = Failure(
    503, ErrorCode.UNAVAILABLE.value, "The server is shutting down", ErrorSource.UPSTREAM
)
_EXPECTATION_FAILED: Final = Failure(
    417, "expectation_failed", "Only Expect: 100-continue is understood", ErrorSource.USER
)
_CODING_UNKNOWN: Final = Failure(
    501, "not_implemented", "Only Transfer-Encoding: chunked is understood", ErrorSource.USER
)


@dataclass(kw_only=True, eq=False, repr=False)
class Pipeline:
    """Serves one request after another.

    Args:
        routes: Where the known paths lead.
        lifetime: The life of the process; every request is counted in it.
        server: The value of ``x-platform-server``.
        max_body_size: Bytes a request body may announce.
        request_logging: Whether each request writes one line.
        sse_keepalive: Seconds of silence on an event stream before a comment is sent; 0 is off.
        fallback: Serves every path instead of *routes* when the user has an application of their own.
        observer: Telemetry; ``None`` while it is off.
        observe: Makes the observer once something of the process has imported OpenTelemetry's API: its spans
            are to be children of the caller's, whoever exports them.
    """

    routes: RouteTable
    lifetime: Lifetime
    server: str
    max_body_size: int
    request_logging: bool = True
    sse_keepalive: float = 0.0
    fallback: Handler | None = None
    observer: Observer | None = None
    observe: Callable[[], Observer] | None = None

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Answer *request* as a handler of somebody's application, whose connections are not ours."""
        task: asyncio.Task[object] | None = asyncio.current_task()
        assert task is not None
        self.lifetime.enter(task)
        exchange = self.begin(request)
        status = CLIENT_CLOSED_REQUEST
        try:
            response = await self.answer(request, exchange)
            status = response.status
            return response
        finally:
            self.end(request, exchange, status)
            self.lifetime.leave(task)

    def begin(self, request: web.Request) -> Exchange:
        """Begin the exchange of *request*."""
        headers = request.headers
        parent = trace_parent(headers) if TRACEPARENT_HEADER in headers else None
        exchange = Exchange(resolve_request_id(headers, parent), headers, parent)
        request[EXCHANGE] = exchange
        observer = self.observer
        if observer is None and OPENTELEMETRY in sys.modules and self.observe is not None:
            observer = self.observer = self.observe()
        if observer is not None:
            exchange.observation = observer.begin(request._method, headers, parent)
        current_request.set(exchange)
        return exchange

    async def prepare(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Stamp the headers of *response*: an ``on_response_prepare`` signal's receiver."""
        exchange = request.get(EXCHANGE)
        if exchange is None:
            return
        exchange.stamp(response, self.server)
        if exchange.observation is not None and not isinstance(response, web.Response):
            exchange.first_byte = exchange.elapsed
        if self.lifetime.shutting_down.is_set() and response.status != 101:
            response.headers[hdrs.CONNECTION] = "close"
        _bound(request, response)
        content_type = response.headers.get(hdrs.CONTENT_TYPE, "")
        if self.sse_keepalive and content_type.startswith("text/event-stream"):
            exchange.keepalive = SseKeepAlive(request, response, self.sse_keepalive)

    def reject(self, exchange: Exchange, failure: Failure) -> web.StreamResponse:
        """Refuse a request that could not even be read."""
        exchange.operation = "unread"
        response = self._refused(exchange, failure)
        response.force_close()
        return response

    async def answer(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer *request*; whatever happens on the way becomes a response or a cut connection."""
        try:
            if self.fallback is not None:
                return await self.fallback(request)
            return await self._dispatch(request, exchange)
        except asyncio.CancelledError as error:
            return self._cancelled(request, exchange, error)
        except KeyboardInterrupt:
            raise
        # The boundary of user code: whatever a handler raises must become a response, and stop here.
        except BaseException as error:  # noqa: BLE001
            return self.failed(request, exchange, error)
        finally:
            if exchange.keepalive is not None:
                exchange.keepalive.stop()

    async def dispatch(self, request: web.Request) -> web.StreamResponse:
        """Call the endpoint that *request* names: the last handler of a user's application."""
        return await self._dispatch(request, request[EXCHANGE])

    async def _dispatch(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        route = self.routes.fixed.get(request._message.path)
        if route is None:
            found = self.routes.match(request.rel_url.raw_path)
            if found is None:
                exchange.operation = "unknown"
                return self._refused(exchange, _NOT_FOUND)
            route, exchange.parameter = found
        exchange.operation = route.operation
        endpoint = route.endpoint(request.method)
        if endpoint is None:
            return self._refused(exchange, _method_not_allowed(request.method, route.allow))
        refusal = self._refusal(request)
        if refusal is not None:
            if route.identify is not None:
                route.identify(request, exchange)
            response = self._refused(exchange, refusal)
            response.force_close()
            return response
        if hdrs.EXPECT in request.headers and self.fallback is None:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        return await endpoint(request, exchange)

    def _refusal(self, request: web.Request) -> Failure | None:
        """Why the body of *request* will not be read, if it will not."""
        headers = request.headers
        if hdrs.CONTENT_LENGTH in headers:
            if int(headers[hdrs.CONTENT_LENGTH]) > self.max_body_size:
                return classify(PayloadTooLargeError(self.max_body_size))
        elif request._message.chunked and headers[hdrs.TRANSFER_ENCODING].strip().lower() != "chunked":
            return _CODING_UNKNOWN
        # With an application of the user's, aiohttp has answered the expectation before we are called.
        if (
            hdrs.EXPECT in headers
            and self.fallback is None
            and headers[hdrs.EXPECT].lower() != "100-continue"
        ):
            return _EXPECTATION_FAILED
        return None

    @staticmethod
    def _refused(exchange: Exchange, failure: Failure) -> web.StreamResponse:
        exchange.failure = failure
        return error_response(failure)

    def _cancelled(
        self, request: web.Request, exchange: Exchange, error: asyncio.CancelledError
    ) -> web.StreamResponse:
        if request.transport is None:
            raise error
        if not self.lifetime.aborting:
            if _cancelled_from_outside(request):
                raise error
            return self.failed(request, exchange, RuntimeError("the handler cancelled itself"), error)
        if sys.version_info >= (3, 11) and (task := asyncio.current_task()):
            task.uncancel()
        if _has_started(exchange):
            return _cut(request, exchange)
        return self._refused(exchange, _SHUTTING_DOWN)

    def failed(
        self,
        request: web.Request,
        exchange: Exchange,
        error: BaseException,
        cause: BaseException | None = None,
    ) -> web.StreamResponse:
        """The response for what was raised while *request* was served."""
        if isinstance(error, ConnectionError) and request.transport is None and _has_started(exchange):
            return _cut(request, exchange)
        if isinstance(error, web.HTTPException) and (error.status < 400 or _has_own_body(error)):
            return _as_response(exchange, error)
        failure = failure_of(error, request)
        if not failure.expected:
            logger.error("%s failed", exchange.operation or "request", exc_info=cause or error)
        exchange.failure = failure
        exchange.error = cause or error
        if _has_started(exchange):
            return _cut(request, exchange)
        response = error_response(failure)
        if failure.status == 413:
            response.force_close()
        return response

    def end(self, request: web.Request, exchange: Exchange, status: int) -> None:
        """End the exchange: its log line, and what telemetry makes of it."""
        if self.request_logging:
            log_request(request._method, _path_of(request), status, exchange.elapsed, exchange)
        if exchange.observation is not None:
            exchange.observation.end(
                RequestEnd(
                    exchange.operation,
                    status,
                    exchange.elapsed,
                    exchange.first_byte,
                    exchange.failure,
                    exchange.error,
                    exchange.close_code,
                    exchange.error_code,
                )
            )

    def paths(self) -> Mapping[str, str]:
        """The path of each operation."""
        return {route.operation: route.path for route in self.routes.routes}


def _path_of(request: web.Request) -> str:
    """The path alone: no query is ever logged."""
    path = request._message.path
    if "?" in path or "#" in path or path[:1] != "/":
        path = request.rel_url.raw_path
    if not path.isascii():  # aiohttp's parser in Python, which PyPy has, lets such bytes through
        path = ascii(path)[1:-1]
    return path


def _bound(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Keep a handler's own stream within what the request allows (RFC 9112, section 6.3)."""
    writer = request.writer
    if response._must_be_empty_body:
        writer.length = 0
    elif writer.length is None and request.version < HttpVersion11:
        response.force_close()  # Without a length or chunks, only the end of the connection ends the body.


def _has_started(exchange: Exchange) -> bool:
    return exchange.response is not None and exchange.response.prepared


def _cut(request: web.Request, exchange: Exchange) -> web.StreamResponse:
    # Closing before the last chunk is how an HTTP/1.1 client learns that the body is not whole (RFC 9112, 8).
    if isinstance(request.writer, HostWriter):
        request.writer.flush()
    if request.transport is not None:
        request.transport.close()
    assert exchange.response is not None
    return exchange.response


def _method_not_allowed(method: str, allow: str) -> Failure:
    message = f"{method[:20]} is not allowed here, use {allow}"
    return Failure(
        405, ErrorCode.METHOD_NOT_ALLOWED.value, message, ErrorSource.USER, headers={"Allow": allow}
    )


def _has_own_body(error: web.HTTPException) -> bool:
    return error.body is not None and error.content_type != "text/plain"


def _as_response(exchange: Exchange, error: web.HTTPException) -> web.StreamResponse:
    # aiohttp deprecates returning an exception as the response it is, so its parts make a plain one.
    if error.status >= 400:
        source = ErrorSource.USER if error.status < 500 else ErrorSource.UPSTREAM
        exchange.failure = replace(_NOT_FOUND, status=error.status, source=source)
    return web.Response(
        status=error.status, reason=error.reason, body=error.body, headers=CIMultiDict(error.headers)
    )


def _cancelled_from_outside(request: web.Request) -> bool:
    if sys.version_info < (3, 11):  # Tasks do not tell yet; only a connection that ends cancels its handler.
        return request.protocol._force_close
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
