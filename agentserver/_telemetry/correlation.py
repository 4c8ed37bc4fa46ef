"""The request that the running task serves, as log records and outgoing calls need it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final

from agentserver._telemetry.observer import OPENTELEMETRY, RequestObservation
from agentserver._telemetry.trace_context import TraceParent
from agentserver.errors import Failure

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class CurrentRequest:
    """A request, as far as telemetry reads it. What the server knows of a request inherits from this.

    Args:
        request_id: The value of ``x-request-id``; its span may bring a better one.
        incoming: Its headers, for what must be passed on to other services.
        parent: The caller's span, if it named one; without its state.

    Attributes:
        started: When it was read, by `time.perf_counter`.
        correlation: Ids that every log record of the request carries, by field name; none until it has any.
        trace_id: The trace of its span, or of its caller's, once telemetry knows; else empty.
        observation: Telemetry's view of it; ``None`` while telemetry is off.
        failure: What its client was told, or would have been, once it has failed.
    """

    # Defaults stand on the class: most requests set only a few of these.
    correlation: Mapping[str, str] = _NOTHING
    trace_id = ""
    observation: RequestObservation | None = None
    failure: Failure | None = None

    def __init__(
        self, request_id: str, incoming: Mapping[str, str], parent: TraceParent | None = None
    ) -> None:
        self.request_id = request_id
        self.incoming: Final = incoming
        self.parent: Final = parent
        self.started: Final = perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since it was read."""
        return perf_counter() - self.started

    def current_trace_id(self) -> str:
        """The trace that what is logged now belongs to: its span's, the active one, or its caller's."""
        if self.trace_id:
            return self.trace_id
        if OPENTELEMETRY in sys.modules and (active := _active_trace_id()):
            return active
        return "" if self.parent is None else self.parent.trace_id


current_request: ContextVar[CurrentRequest | None] = ContextVar("agentserver_request", default=None)


def correlation() -> dict[str, str]:
    """The ids of the request that the running task serves; empty outside one."""
    current = current_request.get()
    if current is None:
        return {}
    return log_fields(current.correlation, current.request_id, current.current_trace_id())


def log_fields(correlation: Mapping[str, str], request_id: str, trace_id: str) -> dict[str, str]:
    """What the log records of a request are found by."""
    fields = {**correlation, "request_id": request_id}
    if trace_id:
        fields["trace_id"] = trace_id
    return fields


def _active_trace_id() -> str:
    trace: Any = sys.modules[OPENTELEMETRY]
    active = trace.get_current_span().get_span_context()
    return str(trace.format_trace_id(active.trace_id)) if active.is_valid else ""
