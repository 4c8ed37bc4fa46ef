"""One request and its response: what the framework knows of it while it is under way."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from aiohttp import web

from agentserver._http.ids import new_trace_id
from agentserver._http.sse_keepalive import SseKeepAlive
from agentserver._telemetry.correlation import CurrentRequest
from agentserver._telemetry.trace_context import TraceParent
from agentserver.wire import (
    REQUEST_ID_HEADER,
    is_valid_id,
)

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class ConnectionEnd(NamedTuple):
    """How a WebSocket connection ended; a plain request has none of it.

    Args:
        close_code: As exchanged; 0 for a plain request.
        error_code: What it failed with, as its log line says; empty if it did not.
        error: The exception behind the end.
    """

    close_code: int = 0
    error_code: str = ""
    error: BaseException | None = None


class Exchange(CurrentRequest):
    """One request and what is known of it.

    What is known when the request arrives does not change. Its ids are known once its endpoint is found;
    how it ended is an `Outcome`, of which the log and telemetry are told at the end.

    Attributes:
        operation: What is being done, for the log: ``"invoke"``, ``"readiness"``, ….
        parameter: The value of the path's one variable segment, decoded, unchecked.
        headers: The protocol's own response headers; they win over the handler's.
        keepalive: Keeps the response alive if it is an event stream.
        sent: The response whose headers have gone out, or are about to.
        first_byte: Seconds until the headers of a stream went out; 0 until then, and for plain responses.
        connection_end: How its WebSocket connection ended, once it has.
    """

    # Defaults stand on the class: most requests set only a few of these.
    operation = ""
    parameter = ""
    headers: Mapping[str, str] = _NOTHING
    keepalive: SseKeepAlive | None = None
    sent: web.StreamResponse | None = None
    first_byte = 0.0
    connection_end = ConnectionEnd()

    def identify(self, correlation: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Say which ids it has: *correlation* in log and telemetry, *headers* on the response."""
        self.correlation = correlation
        self.headers = headers
        if self.observation is not None:
            self.trace_id = self.observation.identify(self.operation, correlation)
            self.request_id = self.trace_id or self.request_id


EXCHANGE: Final = web.RequestKey("exchange", Exchange)


def resolve_request_id(headers: Mapping[str, str], parent: TraceParent | None) -> str:
    """The value of ``x-request-id``: the caller's trace id, the caller's own, or a new one (section 3)."""
    if parent is not None:
        return parent.trace_id
    request_id = headers.get(REQUEST_ID_HEADER)
    if request_id is not None and is_valid_id(request_id):
        return request_id
    return new_trace_id()
