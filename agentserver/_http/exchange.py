"""One request and its response: what the framework knows of it while it is under way."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from agentserver._http.ids import new_trace_id
from agentserver._http.sse_keepalive import SseKeepAlive
from agentserver._telemetry.observer import Observer
from agentserver._telemetry.trace_context import TraceParent
from agentserver.errors import Failure
from agentserver.wire import (
    REQUEST_ID_HEADER,
    is_valid_id,
)

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Exchange:
    """One request and what is known of it.

    What is known when the request arrives does not change. Its ids are known once its endpoint is found;
    how it ended is an `Outcome`, of which the log and telemetry are told at the end.

    Attributes:
        incoming: The request's headers, for what must be passed on to other services.
        parent: The caller's span, if it named one; without its state.
        started: When the request was read, by `time.perf_counter`.
        request_id: The value of ``x-request-id``; telemetry may know a better one.
        trace_id: The trace of the exchange's span, or of its caller's, once telemetry knows; else empty.
        operation: What is being done, for the log: ``"invoke"``, ``"readiness"``, ….
        parameter: The value of the path's one variable segment, decoded, unchecked.
        headers: The protocol's own response headers; they win over the handler's.
        correlation: Ids that every log record of the exchange carries, by field name.
        keepalive: Keeps the response alive if it is an event stream.
        sent: The response whose headers have gone out, or are about to.
        first_byte: Seconds until the headers of a stream went out; 0 until then, and for plain responses.
        observer: Telemetry; ``None`` while it is off.
        method: The request's method, as telemetry counts it.
        span: The exchange's span, if telemetry makes one.
        failure: What the outcome says has failed; set at the end.
        error: The exception behind `failure`, or behind the end of a connection.
        error_code: What a WebSocket connection failed with, as its log line says; empty if it did not.
        close_code: The close code of a WebSocket connection that has ended, as exchanged; else 0.
    """

    # Defaults stand on the class: most requests set only a few of these.
    trace_id = ""
    operation = ""
    parameter = ""
    headers: Mapping[str, str] = _NOTHING
    correlation: Mapping[str, str] = _NOTHING
    keepalive: SseKeepAlive | None = None
    sent: web.StreamResponse | None = None
    first_byte = 0.0
    observer: Observer | None = None
    method = ""
    span: Any = None
    failure: Failure | None = None
    error: BaseException | None = None
    error_code = ""
    close_code = 0

    def __init__(
        self, request_id: str, incoming: Mapping[str, str], parent: TraceParent | None = None
    ) -> None:
        self.request_id = request_id
        self.incoming: Final = incoming
        self.parent: Final = parent
        self.started: Final = perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the request was read."""
        return perf_counter() - self.started

    def identify(self, correlation: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Say which ids it has: *correlation* in log and telemetry, *headers* on the response."""
        self.correlation = correlation
        self.headers = headers
        if self.observer is not None:
            self.observer.identify(self)


EXCHANGE: Final = web.RequestKey("exchange", Exchange)
current_exchange: ContextVar[Exchange | None] = ContextVar("agentserver_exchange", default=None)


def resolve_request_id(headers: Mapping[str, str], parent: TraceParent | None) -> str:
    """The value of ``x-request-id``: the caller's trace id, the caller's own, or a new one (section 3)."""
    if parent is not None:
        return parent.trace_id
    request_id = headers.get(REQUEST_ID_HEADER)
    if request_id is not None and is_valid_id(request_id):
        return request_id
    return new_trace_id()
