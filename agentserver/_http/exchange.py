"""One request and its response: what the framework knows of it while it is under way."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from types import MappingProxyType
from typing import Final

from aiohttp import web

from agentserver._http.ids import new_trace_id
from agentserver._http.sse_keepalive import SseKeepAlive
from agentserver._telemetry.correlation import CurrentRequest
from agentserver._telemetry.trace_context import TraceParent
from agentserver.errors import Failure
from agentserver.wire import (
    ERROR_DETAIL_HEADER,
    ERROR_SOURCE_HEADER,
    REQUEST_ID_HEADER,
    SERVER_HEADER,
    ErrorSource,
    is_valid_id,
)

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Exchange(CurrentRequest):
    """The mutable state of one request, shared by the pipeline, the endpoint and the header stamp.

    Attributes:
        operation: What is being done, for the log: ``"invoke"``, ``"readiness"``, ….
        headers: The protocol's own response headers; they win over the handler's.
        failure: Set once the framework has decided that the exchange failed.
        parameter: The value of the path's one variable segment, decoded, unchecked.
        response: The response, once its headers are about to go out.
        keepalive: Keeps the response alive if it is an event stream.
        error: The exception behind `failure`, or behind the end of a connection.
        error_code: What a WebSocket connection failed with, as its log line says; empty if it did not.
        close_code: The close code of a WebSocket connection that has ended, as exchanged; else 0.
        first_byte: Seconds until the headers of a stream went out; 0 until then, and for plain responses.
    """

    # Defaults stand on the class: most requests set only a few of these.
    operation = ""
    parameter = ""
    headers: Mapping[str, str] = _NOTHING
    keepalive: SseKeepAlive | None = None
    failure: Failure | None = None
    error: BaseException | None = None
    error_code = ""
    close_code = 0
    first_byte = 0.0
    response: web.StreamResponse | None = None

    def __init__(
        self, request_id: str, incoming: Mapping[str, str], parent: TraceParent | None = None
    ) -> None:
        super().__init__(request_id, incoming, parent)
        self.started = perf_counter()

    def identify(self, correlation: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Say which ids it has: *correlation* in log and telemetry, *headers* on the response."""
        self.correlation = correlation
        self.headers = headers
        if self.observation is not None:
            self.trace_id = self.observation.identify(self.operation, correlation)
            self.request_id = self.trace_id or self.request_id

    @property
    def elapsed(self) -> float:
        """Seconds since the request was read."""
        return perf_counter() - self.started

    def stamp(self, response: web.StreamResponse, server: str) -> None:
        """Write the framework's headers on *response*, over whatever a handler set (contract, section 3)."""
        self.response = response
        headers = response.headers
        headers[REQUEST_ID_HEADER] = self.request_id
        headers[SERVER_HEADER] = server
        for name, value in self.headers.items():
            headers[name] = value
        if response.status >= 400:
            self._stamp_source(response)

    def _stamp_source(self, response: web.StreamResponse) -> None:
        failure = self.failure
        if failure is not None:
            response.headers[ERROR_SOURCE_HEADER] = failure.source.value
            if failure.detail is not None:
                response.headers[ERROR_DETAIL_HEADER] = failure.detail
        elif response.status >= 500 and ERROR_SOURCE_HEADER not in response.headers:
            response.headers[ERROR_SOURCE_HEADER] = ErrorSource.UPSTREAM.value


EXCHANGE: Final = web.RequestKey("exchange", Exchange)


def resolve_request_id(headers: Mapping[str, str], parent: TraceParent | None) -> str:
    """The value of ``x-request-id``: the caller's trace id, the caller's own, or a new one (section 3)."""
    if parent is not None:
        return parent.trace_id
    request_id = headers.get(REQUEST_ID_HEADER)
    if request_id is not None and is_valid_id(request_id):
        return request_id
    return new_trace_id()
