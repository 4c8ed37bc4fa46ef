"""Where the server and OpenTelemetry's SDK meet: spans, metrics and the context that a handler runs in.

How it works. The pipeline tells an observer four things of each request: that it was read (`begin`), what
it is and which ids it has (`identify`), what happens in it (`action`, on a WebSocket), and that its last
byte has gone out (`end`). All four are called in the task that serves the request, and none of them raises.

`identify` makes the request's context: the caller's span as the current one if there is no nearer one, the
baggage, and on these the framework's own span. It attaches that context to the running task, so that
whatever the handler starts, in tasks and async generators too, becomes a child of it. The context is never
detached: each request has a task of its own, and the context ends with the task. An action shares its
connection's task and therefore detaches.

Everything is done through OpenTelemetry's public API, on whatever providers are set: ours, which
`providers` makes of the SDK's own classes, the user's, or none. Spans are the SDK's. It puts those that
have ended into the queue of its batch processor, whose thread encodes and sends them. No request waits for
an exporter: when the queue is full, the oldest spans are dropped.

While a span begins or ends, the SDK calls processors of anybody's. On our provider each of them is guarded
(`span_processors`). On a provider of the user's the SDK calls them unguarded, so the calls that begin and
end the framework's spans are guarded here: a processor that raises costs the span, never the request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import context as context_api
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from agentserver._telemetry.attributes import (
    ERROR_TYPE,
    IDS_OF_ACTION,
    IDS_OF_REQUESTS,
    SCOPE,
    SPAN_NAMES,
    STATUS_CODE,
    AgentAttributes,
    Attributes,
    exception_attributes,
    of_closed_connection,
    safe_text,
    type_of,
)
from agentserver._telemetry.instruments import METHODS, OTHER_METHOD, Instruments
from agentserver._telemetry.log_limit import ErrorLog
from agentserver._telemetry.observer import RequestEnd, Traffic
from agentserver._telemetry.opentelemetry_context import parent_of, with_baggage, with_remote_parent
from agentserver._telemetry.trace_context import TraceParent, handler_baggage
from agentserver._version import __version__
from agentserver.environment import FoundryEnvironment
from agentserver.errors import classify
from agentserver.wire import (
    HTTP_NAMESPACE,
    INVOCATION_ID_BAGGAGE,
    SESSION_ID_BAGGAGE,
    WS_NAMESPACE,
    ErrorCode,
)

if TYPE_CHECKING:
    from agentserver._telemetry.run_observer import Counts, RunObserver

_errors = ErrorLog(logging.getLogger("agentserver.telemetry"))


def make_observer(
    environment: FoundryEnvironment, routes: Mapping[str, str], *, spans: bool
) -> OpenTelemetryObserver:
    """Make an observer on the providers that are set now; those set later take over where they can.

    Args:
        environment: Says who the agent is.
        routes: The path of each operation.
        spans: Whether the framework makes spans of its own.
    """
    provider: Any = trace.get_tracer_provider()
    resource = getattr(provider, "resource", None)
    service = resource.attributes.get("service.name") if resource is not None else None
    agent = AgentAttributes.of(environment, str(service or environment.agent_name or SCOPE))
    if hasattr(provider, "add_span_processor"):  # only the SDK's has it, so it is loaded already
        from agentserver._telemetry.enrichment import enrich

        enrich(provider, agent.everywhere)
    tracer = trace.get_tracer(SCOPE, __version__) if spans else None
    meter = metrics.get_meter(SCOPE, __version__)
    return OpenTelemetryObserver(agent, tracer, Instruments(meter, routes), meter)


class SpanTemplate:
    """Begins the spans of one operation: what they share is made once.

    Args:
        tracer: Makes them.
        name: Their name.
        kind: Their kind.
        attributes: What never differs.
        ids: The attributes that tell one from the next; each is ``invocation_id`` or ``session_id``.
    """

    def __init__(
        self, tracer: Tracer, name: str, kind: SpanKind, attributes: Attributes, ids: Mapping[str, str]
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._ids = tuple(ids.items())

    def begin(self, context: Context, ids: Mapping[str, str]) -> Span | None:
        """Begin a span in *context*; none if there is no provider, or a processor of the user's raises."""
        attributes = self._attributes.copy()
        for name, which in self._ids:
            attributes[name] = ids[which]
        try:
            span = self._tracer.start_span(self._name, context, self._kind, attributes)
        # The processors and the sampler of a provider of the user's run in there.
        except Exception as error:  # noqa: BLE001
            _errors.report(f"the span {self._name} could not be begun", error)
            return None
        return span if span.get_span_context().is_valid else None


class OpenTelemetryObserver:
    """Watches every request of a host.

    Args:
        agent: What is the same for all spans.
        tracer: Makes the framework's own spans; without it there are none, and context and baggage go on.
        instruments: What is counted.
        meter: Where the instruments of durable runs are made, if there are any.
    """

    def __init__(
        self, agent: AgentAttributes, tracer: Tracer | None, instruments: Instruments, meter: metrics.Meter
    ) -> None:
        self._agent = agent
        self._tracer = tracer
        self._meter = meter
        self.instruments = instruments
        self.of_requests: dict[str, SpanTemplate] = {}
        self.of_actions: dict[str, SpanTemplate] = {}
        if tracer is None:
            return
        for operation in SPAN_NAMES:
            name, fixed = agent.span_name(operation), agent.fixed(operation)
            ids = IDS_OF_REQUESTS[operation]
            self.of_requests[operation] = SpanTemplate(tracer, name, SpanKind.SERVER, fixed, ids)
            self.of_actions[operation] = SpanTemplate(tracer, name, SpanKind.INTERNAL, fixed, IDS_OF_ACTION)

    def begin(self, method: str, headers: Mapping[str, str], parent: TraceParent | None) -> RequestSpan:
        """A request was read."""
        return RequestSpan(self, method if method in METHODS else OTHER_METHOD, headers, parent)

    def runs(self, counts: Counts) -> RunObserver:
        """Watch the durable runs of the host."""
        from agentserver._telemetry.opentelemetry_runs import OpenTelemetryRuns, RunInstruments

        return OpenTelemetryRuns(self._agent, self._tracer, RunInstruments(self._meter, counts))


class RequestSpan:
    """One request under way, in the task that serves it."""

    __slots__ = ("_headers", "_instruments", "_method", "_observer", "_parent", "_span")

    def __init__(
        self,
        observer: OpenTelemetryObserver,
        method: str,
        headers: Mapping[str, str],
        parent: TraceParent | None,
    ) -> None:
        self._observer = observer
        self._instruments = observer.instruments
        self._method = method
        self._headers = headers
        self._parent = parent
        self._span: Span | None = None
        self._instruments.requests[method] += 1

    @property
    def traffic(self) -> Traffic:
        """Where WebSocket connections count themselves and their messages."""
        return self._instruments.traffic

    def identify(self, operation: str, ids: Mapping[str, str]) -> str:
        """Begin the request's span, if it has one, and make its context the handler's."""
        context = context_api.get_current()
        parent = self._parent
        if context or parent is not None:
            parent = parent_of(self._headers, parent, context)
        context = with_baggage(with_remote_parent(context, parent), handler_baggage(self._headers, ids))
        template = self._observer.of_requests.get(operation)
        span = self._span = None if template is None else template.begin(context, ids)
        if span is not None:
            context = trace.set_span_in_context(span, context)
        context_api.attach(context)  # it ends with the task, which serves no other request
        if span is not None:
            return trace.format_trace_id(span.get_span_context().trace_id)
        return "" if parent is None else parent.trace_id

    def action(self, operation: str, invocation_id: str, session_id: str) -> ActionSpan:
        """Begin one action of the connection."""
        return ActionSpan(self._observer, operation, invocation_id, session_id)

    def end(self, end: RequestEnd) -> None:
        """Record how the request ended."""
        self._instruments.requests[self._method] -= 1
        self._instruments.ended(self._method, end)
        span = self._span
        if span is not None:
            if span.is_recording():
                _describe_end(span, end)
            end_span(span)


def end_span(span: Span) -> None:
    """End *span*, whatever a processor of the user's makes of it."""
    try:
        span.end()
    # The processors of a provider of the user's run in there.
    except Exception as error:  # noqa: BLE001
        _errors.report("a span could not be ended", error)


def _describe_end(span: Span, end: RequestEnd) -> None:
    if end.close_code:
        span.set_attributes(of_closed_connection(end))
    else:
        span.set_attribute(STATUS_CODE, end.status)
    failure = end.failure
    if failure is not None:
        namespace = WS_NAMESPACE if end.close_code else HTTP_NAMESPACE
        tag_error(span, namespace, end.error, failure.code, failure.message)
        mark_failed(span, end.error, failure.code)
    elif end.error_code:
        span.set_attribute(ERROR_TYPE, type_of(end.error, end.error_code))
        if end.error_code != ErrorCode.CANCELLED.value:  # the connection ended, nothing failed
            mark_failed(span, end.error, end.error_code)


class ActionSpan:
    """One action under way, in the task that serves it."""

    __slots__ = ("_instruments", "_operation", "_span", "_started", "_token")

    def __init__(
        self, observer: OpenTelemetryObserver, operation: str, invocation_id: str, session_id: str
    ) -> None:
        self._instruments = observer.instruments
        self._operation = operation
        self._started = time.perf_counter()
        ids = {"invocation_id": invocation_id, "session_id": session_id}
        entries = {INVOCATION_ID_BAGGAGE: invocation_id, SESSION_ID_BAGGAGE: session_id}
        context = with_baggage(context_api.get_current(), entries)
        template = observer.of_actions.get(operation)
        self._span = None if template is None else template.begin(context, ids)
        if self._span is not None:
            context = trace.set_span_in_context(self._span, context)
        self._token = context_api.attach(context)

    def end(self, error: BaseException | None = None, code: str = "") -> None:
        """Record how the action ended."""
        failure = classify(error) if error is not None else None
        source = failure.source.value if failure else ""
        self._instruments.acted(self._operation, time.perf_counter() - self._started, code, source)
        span = self._span
        if span is not None:
            if code and span.is_recording():
                tag_error(span, WS_NAMESPACE, error, code, failure.message if failure else "")
                mark_failed(span, error, code)
            end_span(span)
        context_api.detach(self._token)


def tag_error(span: Span, namespace: str, error: BaseException | None, code: str, message: str) -> None:
    """Say on *span* what the caller was told."""
    span.set_attribute(ERROR_TYPE, type_of(error, code))
    span.set_attribute(namespace + ".error.code", code)
    if message:
        span.set_attribute(namespace + ".error.message", safe_text(message))


def mark_failed(span: Span, error: BaseException | None, code: str) -> None:
    """Mark *span* as failed, with the exception that only the operator sees."""
    span.set_status(Status(StatusCode.ERROR, code))
    if error is not None:
        span.add_event("exception", exception_attributes(error))
