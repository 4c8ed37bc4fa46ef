"""The way of every request through the host: ids, limits, dispatch, errors, the log line."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.typedefs import Handler

from agentserver._http.aiohttp_internals import (
    has_no_body,
    is_complete,
    message_of,
    renew_writer,
    was_lost,
)
from agentserver._http.exchange import (
    EXCHANGE,
    Exchange,
    resolve_request_id,
)
from agentserver._http.lifetime import Lifetime
from agentserver._http.outcome import FAILURE, Outcome, raised, refused
from agentserver._http.router import RouteTable
from agentserver._http.sending import cut, has_left, stamp
from agentserver._http.sse_keepalive import SseKeepAlive
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
        keep_alive: Whether a connection may serve more than one request.
        fallback: Serves every path instead of *routes* when the user has an application of their own.
        observer: Telemetry; ``None`` while it is off.
        observe: Makes the observer once something of the process has imported OpenTelemetry's API: its spans
            are to be children of the caller's, whoever exports them.
        context: What timers of the host's own run in a copy of; never a request's.
    """

    routes: RouteTable
    lifetime: Lifetime
    server: str
    max_body_size: int
    request_logging: bool = True
    sse_keepalive: float = 0.0
    keep_alive: bool = True
    fallback: Handler | None = None
    observer: Observer | None = None
    observe: Callable[[], Observer] | None = None
    context: Context = field(default_factory=Context)

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Answer *request* as a handler of somebody's application, whose connections are not ours."""
        task: asyncio.Task[object] | None = asyncio.current_task()
        assert task is not None
        self.lifetime.enter(task)
        message = message_of(request)
        exchange = request[EXCHANGE] = self.begin(message)
        outcome = None
        try:
            outcome = await self.answer(request, message, exchange)
            return outcome.response
        finally:
            self.end(request, message, exchange, outcome)
            self.lifetime.leave(task)

    def begin(self, message: RawRequestMessage) -> Exchange:
        """Begin the exchange of a request that was read as *message*; the request is to carry it."""
        headers = message.headers
        parent = trace_parent(headers) if TRACEPARENT_HEADER in headers else None
        exchange = Exchange(resolve_request_id(headers, parent), headers, parent)
        current_request.set(exchange)
        observer = self.observer
        if observer is None and OPENTELEMETRY in sys.modules and self.observe is not None:
            observer = self.observer = self.observe()
        if observer is not None:
            exchange.observation = observer.begin(message.method, headers, parent)
        return exchange

    async def prepare(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Stamp the headers of *response*: an ``on_response_prepare`` signal's receiver."""
        exchange = request.get(EXCHANGE)
        if exchange is None:
            return
        stamp(exchange, response, self.server)
        if exchange.observation is not None and not isinstance(response, web.Response):
            exchange.first_byte = exchange.elapsed
        is_last = self.lifetime.shutting_down.is_set() or not self.keep_alive
        if is_last and response.status != 101:
            response.headers[hdrs.CONNECTION] = "close"
        _bound(request, response)
        if self.sse_keepalive and _is_endless_event_stream(request, response):
            exchange.keepalive = SseKeepAlive(request, self.sse_keepalive, self.context.copy())

    def reject(self, exchange: Exchange, failure: Failure) -> Outcome:
        """Refuse a request that could not even be read."""
        exchange.operation = "unread"
        response = refused(failure)
        response.force_close()
        return Outcome(response, failure)

    async def answer(self, request: web.Request, message: RawRequestMessage, exchange: Exchange) -> Outcome:
        """Answer *request*; whatever happens on the way becomes a response or a cut connection.

        Raises:
            ConnectionError: If the client has gone.
            asyncio.CancelledError: If it has gone, and what served it was cancelled for that.
        """
        try:
            if self.fallback is None:
                response = await self._dispatch(request, message, exchange)
            else:
                response = _checked(await self.fallback(request))
            return Outcome(response)
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
        return await self._dispatch(request, message_of(request), request[EXCHANGE])

    async def _dispatch(
        self, request: web.Request, message: RawRequestMessage, exchange: Exchange
    ) -> web.StreamResponse:
        route = self.routes.fixed.get(message.path)
        if route is None:
            found = self.routes.match(request.rel_url.raw_path)
            if found is None:
                exchange.operation = "unknown"
                return refused(_NOT_FOUND)
            route, exchange.parameter = found
        exchange.operation = route.operation
        endpoint = route.endpoint(message.method)
        if endpoint is None:
            return refused(_method_not_allowed(message.method, route.allow))
        headers = message.headers
        refusal = self._refusal(message, headers)
        # With an application of the user's, aiohttp has answered the expectation before we are called.
        if hdrs.EXPECT in headers and refusal is None and self.fallback is None:
            refusal = _meet_expectation(request, message)
        if refusal is not None:
            if route.identify is not None:
                route.identify(request, exchange)
            response = refused(refusal)
            response.force_close()
            return response
        return await endpoint(request, exchange)

    def _refusal(self, message: RawRequestMessage, headers: Mapping[str, str]) -> Failure | None:
        """Why the body of a request will not be read, if it will not."""
        if hdrs.CONTENT_LENGTH in headers:
            if int(headers[hdrs.CONTENT_LENGTH]) > self.max_body_size:
                return classify(PayloadTooLargeError(self.max_body_size))
        elif message.chunked and headers[hdrs.TRANSFER_ENCODING].strip().lower() != "chunked":
            return _CODING_UNKNOWN
        return None

    def _cancelled(self, request: web.Request, exchange: Exchange, error: asyncio.CancelledError) -> Outcome:
        if request.transport is None:
            raise error
        if not self.lifetime.aborting:
            if _cancelled_from_outside(request):
                raise error
            return self.failed(request, exchange, RuntimeError("the handler cancelled itself"), error)
        if sys.version_info >= (3, 11) and (task := asyncio.current_task()):
            task.uncancel()
        if has_left(request):
            return _cut_short(request, exchange)
        renew_writer(request)
        return Outcome(refused(_SHUTTING_DOWN), _SHUTTING_DOWN)

    def failed(
        self,
        request: web.Request,
        exchange: Exchange,
        error: BaseException,
        cause: BaseException | None = None,
    ) -> Outcome:
        """What becomes of *request*, for which *error* was raised before its answer was out.

        Args:
            request: The request.
            exchange: What is known of it.
            error: What was raised.
            cause: What the operator is told of instead.

        Raises:
            ConnectionError: If that is what was raised, because the client has gone.
        """
        if isinstance(error, ConnectionError) and _has_gone(request):
            raise error
        started = has_left(request)
        outcome = raised(error, request)
        failure = outcome.failure
        if failure is not None:
            outcome = outcome._replace(cause=cause or error)
            if not failure.expected:
                logger.error("%s failed", exchange.operation or "request", exc_info=cause or error)
        if started:
            return _cut_short(request, exchange, failure, cause or error)
        renew_writer(request)
        return outcome

    def end(
        self, request: web.Request, message: RawRequestMessage, exchange: Exchange, outcome: Outcome | None
    ) -> None:
        """End the exchange: its log line, and what telemetry makes of it.

        Args:
            request: The request.
            message: The request as it was read.
            exchange: What is known of it.
            outcome: What became of it; ``None`` if its client has gone.
        """
        cause = None
        if outcome is None:
            sent = exchange.sent
            status = sent.status if sent is not None and is_complete(sent) else CLIENT_CLOSED_REQUEST
        else:
            status, cause = outcome.response.status, outcome.cause
            if status >= 400 or outcome.failure is not None:
                exchange.failure = outcome.failure or outcome.response.get(FAILURE)
        if self.request_logging:
            log_request(message.method, _path_of(request, message), status, exchange.elapsed, exchange)
        if exchange.observation is not None:
            close_code, error_code, error = exchange.connection_end
            exchange.observation.end(
                RequestEnd(
                    exchange.operation,
                    status,
                    exchange.elapsed,
                    exchange.first_byte,
                    exchange.failure,
                    cause or error,
                    close_code,
                    error_code,
                )
            )

    def paths(self) -> Mapping[str, str]:
        """The path of each operation."""
        return {route.operation: route.path for route in self.routes.routes}


def _path_of(request: web.Request, message: RawRequestMessage) -> str:
    """The path alone: no query is ever logged."""
    path = message.path
    if "?" in path or "#" in path or path[:1] != "/":
        path = request.rel_url.raw_path
    if not path.isascii():  # aiohttp's parser in Python, which PyPy has, lets such bytes through
        path = ascii(path)[1:-1]
    return path


def _meet_expectation(request: web.Request, message: RawRequestMessage) -> Failure | None:
    if message.headers[hdrs.EXPECT].lower() != "100-continue":
        return _EXPECTATION_FAILED
    # An HTTP/1.0 client would take it for the answer (RFC 9110, section 10.1.1).
    if message.version == HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


def _checked(response: object) -> web.StreamResponse:
    if isinstance(response, web.StreamResponse):
        return response
    raise TypeError(
        f"a route or middleware of the application returned {type(response).__name__}:"
        " return a web.Response, or what the next handler gave"
    )


def _bound(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Keep a handler's own stream within what the request allows (RFC 9112, section 6.3)."""
    writer = request.writer
    if has_no_body(response):
        writer.length = 0
    elif writer.length is None and request.version < HttpVersion11:
        response.force_close()  # Without a length or chunks, only the end of the connection ends the body.


def _is_endless_event_stream(request: web.BaseRequest, response: web.StreamResponse) -> bool:
    """Whether comments may go between the events of *response*: nobody has announced or packed its bytes."""
    content_type = response.headers.get(hdrs.CONTENT_TYPE, "")
    return (
        content_type.startswith("text/event-stream")
        and not response.compression
        and request.writer.length is None
    )


def _has_gone(request: web.BaseRequest) -> bool:
    transport = request.transport
    return transport is None or transport.is_closing()


def _cut_short(
    request: web.Request,
    exchange: Exchange,
    failure: Failure | None = None,
    cause: BaseException | None = None,
) -> Outcome:
    cut(request)
    response = exchange.sent
    if response is None:  # the handler wrote past every response
        response = web.Response(status=500)
    return Outcome(response, failure, cause, is_cut=True)


def _method_not_allowed(method: str, allow: str) -> Failure:
    message = f"{method[:20]} is not allowed here, use {allow}"
    return Failure(
        405, ErrorCode.METHOD_NOT_ALLOWED.value, message, ErrorSource.USER, headers={"Allow": allow}
    )


def _cancelled_from_outside(request: web.Request) -> bool:
    if sys.version_info < (3, 11):  # Tasks do not tell yet; only a connection that ends cancels its handler.
        return was_lost(request)
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
