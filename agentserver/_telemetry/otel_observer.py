"""The pipeline's observer: spans, metrics and the handler's context, on OpenTelemetry's API alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from agentserver._http.exchange import Exchange
from agentserver._telemetry.attributes import (
    ERROR_TYPE,
    IDS_OF_ACTION,
    IDS_OF_EXCHANGES,
    SCOPE,
    SPAN_NAMES,
    STATUS_CODE,
    AgentAttributes,
    outcome,
    type_of,
)
from agentserver._telemetry.instruments import METHODS, OTHER_METHOD, Instruments, MakeHistogram
from agentserver._telemetry.otel_context import caused, extended, parent_of, span_in
from agentserver._telemetry.own_span import BeginSpan, OwnSpan, SdkSpans, Spans, SpanTemplate
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


@dataclass
class OwnMakers:
    """How the framework makes what every request needs, if not as anybody does.

    Args:
        spans: Makes what makes spans, from the tracer.
        histogram: Makes histograms.
    """

    spans: Callable[[Tracer], Spans] | None = None
    histogram: MakeHistogram | None = None


def make_observer(
    environment: FoundryEnvironment,
    routes: Mapping[str, str],
    *,
    spans: bool,
    own: OwnMakers | None = None,
) -> TelemetryObserver:
    """Make an observer on the providers that are set now; those set later take over where they can.

    Args:
        environment: Says who the agent is.
        routes: The path of each operation.
        spans: Whether the framework makes spans of its own.
        own: How it makes spans and histograms, if not as anybody does.
    """
    provider: Any = trace.get_tracer_provider()
    resource = getattr(provider, "resource", None)
    service = resource.attributes.get("service.name") if resource is not None else None
    agent = AgentAttributes.of(environment, str(service or environment.agent_name or SCOPE))
    if hasattr(provider, "add_span_processor"):  # only the SDK's has it, so it is loaded already
        from agentserver._telemetry.processors import enrich

        enrich(provider, agent.everywhere, SCOPE)
    tracer = trace.get_tracer(SCOPE, __version__)
    own = own or OwnMakers()
    maker = (own.spans or SdkSpans)(tracer) if spans else None
    meter = metrics.get_meter(SCOPE, __version__)
    return TelemetryObserver(agent, maker, Instruments(meter, routes, own.histogram))


class TelemetryObserver:
    """Watches every exchange of a host.

    Args:
        agent: What is the same for all spans.
        spans: Makes the framework's own spans; without it there are none, and context and baggage go on.
        instruments: What is counted.
    """

    def __init__(self, agent: AgentAttributes, spans: Spans | None, instruments: Instruments) -> None:
        self.instruments = instruments
        self.traffic = instruments.traffic
        self._of_exchanges: dict[str, BeginSpan] = {}
        self.of_actions: dict[str, BeginSpan] = {}
        if spans is None:
            return
        for operation in SPAN_NAMES:
            name, fixed = agent.span_name(operation), agent.fixed(operation)
            server = SpanTemplate(name, SpanKind.SERVER, fixed, IDS_OF_EXCHANGES[operation])
            action = SpanTemplate(name, SpanKind.INTERNAL, fixed, IDS_OF_ACTION)
            self._of_exchanges[operation] = partial(spans.begin, server)
            self.of_actions[operation] = partial(spans.begin, action)

    def begin(self, exchange: Exchange, method: str) -> None:
        """A request was read."""
        if method not in METHODS:
            method = OTHER_METHOD
        exchange.method = method
        self.instruments.requests[method] += 1

    def identify(self, exchange: Exchange) -> None:
        """Begin the exchange's span, if it has one, and make its context the handler's."""
        context = otel_context.get_current()
        parent = parent_of(exchange, context) if context or exchange.parent is not None else None
        entries = handler_baggage(exchange.incoming, exchange.correlation)
        begin = self._of_exchanges.get(exchange.operation)
        if begin is None:
            span, context = None, caused(context, parent)
        else:
            exchange.span = span = begin(parent, exchange.correlation, context, entries)
        trace_id = span.trace_id if type(span) is OwnSpan else _trace_id(span, parent)
        if trace_id:
            exchange.trace_id = exchange.request_id = trace_id
        otel_context.attach(extended(context, entries, span))  # it ends with the task, which serves no other

    def action(self, operation: str, invocation_id: str, session_id: str) -> ActionSpan:
        """Begin one action of the connection."""
        return ActionSpan(self, operation, invocation_id, session_id)

    def end(self, exchange: Exchange, status: int) -> None:
        """Record how the exchange ended."""
        instruments = self.instruments
        instruments.requests[exchange.method] -= 1
        instruments.ended(exchange, status)
        span = exchange.span
        if type(span) is OwnSpan and not (exchange.failure or exchange.close_code or exchange.error_code):
            span.finish(status)
        elif span is not None:
            if span.is_recording():
                _describe_end(span, exchange, status)
            span.end()


def _trace_id(span: Span | None, parent: TraceParent | None) -> str:
    if span is not None and (ids := span.get_span_context()).is_valid:
        return trace.format_trace_id(ids.trace_id)
    return "" if parent is None else parent.trace_id


def _describe_end(span: Span, exchange: Exchange, status: int) -> None:
    if exchange.close_code:
        span.set_attributes(outcome(exchange))
    else:
        span.set_attribute(STATUS_CODE, status)
    failure = exchange.failure
    if failure is not None:
        namespace = WS_NAMESPACE if exchange.close_code else HTTP_NAMESPACE
        tag_error(span, namespace, exchange.error, failure.code, failure.message)
        mark_failed(span, exchange.error, failure.code)
    elif exchange.error_code:
        span.set_attribute(ERROR_TYPE, type_of(exchange.error, exchange.error_code))
        if exchange.error_code != ErrorCode.CANCELLED.value:  # the connection ended, nothing failed
            mark_failed(span, exchange.error, exchange.error_code)


class ActionSpan:
    """One action under way, in the task that serves it."""

    __slots__ = ("_instruments", "_operation", "_span", "_started", "_token")

    def __init__(
        self, observer: TelemetryObserver, operation: str, invocation_id: str, session_id: str
    ) -> None:
        self._instruments = observer.instruments
        self._operation = operation
        self._started = time.perf_counter()
        ids = {"invocation_id": invocation_id, "session_id": session_id}
        entries = {INVOCATION_ID_BAGGAGE: invocation_id, SESSION_ID_BAGGAGE: session_id}
        context = otel_context.get_current()
        self._span: Span | None = None
        begin = observer.of_actions.get(operation)
        if begin is not None:
            self._span = begin(span_in(context), ids, context, entries)
        self._token = otel_context.attach(extended(context, entries, self._span))

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
            span.end()
        otel_context.detach(self._token)


def tag_error(span: Span, namespace: str, error: BaseException | None, code: str, message: str) -> None:
    """Say on *span* what the caller was told."""
    span.set_attribute(ERROR_TYPE, type_of(error, code))
    span.set_attribute(namespace + ".error.code", code)
    if message:
        span.set_attribute(namespace + ".error.message", message)


def mark_failed(span: Span, error: BaseException | None, code: str) -> None:
    """Mark *span* as failed, with the exception that only the operator sees."""
    span.set_status(Status(StatusCode.ERROR, code))
    if error is not None:
        span.record_exception(error)
