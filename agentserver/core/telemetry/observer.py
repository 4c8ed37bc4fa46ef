"""The pipeline's observer: spans, metrics and the handler's context, on OpenTelemetry's API alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import Token
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from agentserver.core._exchange import Exchange
from agentserver.core._observer import Traffic
from agentserver.core.environment import FoundryEnvironment
from agentserver.core.identity import __version__
from agentserver.core.telemetry.attributes import (
    ERROR_TYPE,
    SCOPE,
    SPAN_NAMES,
    STATUS_CODE,
    WEBSOCKET,
    AgentAttributes,
    ids_of,
    ids_of_action,
    outcome,
    type_of,
)
from agentserver.core.telemetry.context import parent_context, with_baggage
from agentserver.core.telemetry.instruments import Instruments, MakeHistogram, method_of
from agentserver.core.telemetry.own_span import SpanTemplate, StartSpan, sdk_spans
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
        spans: Makes what begins a span, from the tracer.
        histogram: Makes histograms.
    """

    spans: Callable[[Tracer], StartSpan] | None = None
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
        from agentserver.core.telemetry.processors import enrich

        enrich(provider, agent.everywhere, SCOPE)
    tracer = trace.get_tracer(SCOPE, __version__)
    own = own or OwnMakers()
    start = (own.spans or sdk_spans)(tracer) if spans else None
    meter = metrics.get_meter(SCOPE, __version__)
    return TelemetryObserver(agent, start, Instruments(meter, routes, own.histogram))


class TelemetryObserver:
    """Watches every exchange of a host.

    Args:
        agent: What is the same for all spans.
        start_span: Makes the framework's own spans; ``None`` makes none, and context and baggage go on.
        instruments: What is counted.
    """

    def __init__(
        self, agent: AgentAttributes, start_span: StartSpan | None, instruments: Instruments
    ) -> None:
        self.start_span = start_span
        self.instruments = instruments
        self.of_exchanges = _templates(agent, SpanKind.SERVER)
        self.of_actions = _templates(agent, SpanKind.INTERNAL)

    def begin(self, request: web.Request, exchange: Exchange) -> ExchangeScope:
        """A request was read."""
        method = method_of(request.method)
        self.instruments.requests[method] += 1
        return ExchangeScope(self, exchange, method)


def _templates(agent: AgentAttributes, kind: SpanKind) -> dict[str, SpanTemplate]:
    return {
        operation: SpanTemplate(agent.span_name(operation), kind, agent.fixed(operation))
        for operation in SPAN_NAMES
    }


class ExchangeScope:
    """One exchange under way."""

    __slots__ = ("_exchange", "_method", "_observer", "_span", "_token")

    def __init__(self, observer: TelemetryObserver, exchange: Exchange, method: str) -> None:
        self._observer = observer
        self._exchange = exchange
        self._method = method
        self._span: Span | None = None
        self._token: Token[Context] | None = None

    @property
    def traffic(self) -> Traffic:
        """Where a WebSocket connection counts its messages."""
        return self._observer.instruments.traffic

    def identify(self) -> None:
        """Begin the exchange's span, if it has one, and make its context the handler's."""
        exchange, observer = self._exchange, self._observer
        context, active = parent_context(exchange)
        if exchange.operation == WEBSOCKET:
            observer.instruments.connections += 1
        template = observer.of_exchanges.get(exchange.operation)
        if observer.start_span is not None and template is not None:
            ids = exchange.correlation
            attributes = ids_of(exchange.operation, ids["invocation_id"], ids["session_id"])
            self._span = span = observer.start_span(template, context, active, attributes)
            context = trace.set_span_in_context(span, context)
            active = span.get_span_context()
        if active is not None and active.is_valid:
            exchange.trace_id = exchange.request_id = trace.format_trace_id(active.trace_id)
        self._token = otel_context.attach(context)

    def action(self, operation: str, invocation_id: str, session_id: str) -> ActionSpan:
        """Begin one action of the connection."""
        return ActionSpan(self._observer, operation, invocation_id, session_id)

    def end(self, status: int) -> None:
        """Record how the exchange ended."""
        exchange, instruments = self._exchange, self._observer.instruments
        exchange.scope = None  # each refers to the other: freed at once instead of by the collector
        if exchange.operation == WEBSOCKET and self._token is not None:
            instruments.connections -= 1
        instruments.requests[self._method] -= 1
        instruments.ended(exchange, self._method, status)
        if self._span is not None:
            self._end_span(self._span, status)
        if self._token is not None:
            otel_context.detach(self._token)

    def _end_span(self, span: Span, status: int) -> None:
        exchange = self._exchange
        if span.is_recording():
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
        span.end()


class ActionSpan:
    """One action under way, in the task that serves it."""

    __slots__ = ("_instruments", "_operation", "_span", "_started", "_token")

    def __init__(
        self, observer: TelemetryObserver, operation: str, invocation_id: str, session_id: str
    ) -> None:
        self._instruments = observer.instruments
        self._operation = operation
        self._started = time.perf_counter()
        ids = {INVOCATION_ID_BAGGAGE: invocation_id, SESSION_ID_BAGGAGE: session_id}
        context = with_baggage(ids, otel_context.get_current())
        self._span: Span | None = None
        if observer.start_span is not None:
            attributes = ids_of_action(invocation_id, session_id)
            template, parent = observer.of_actions[operation], trace.get_current_span(context)
            self._span = observer.start_span(template, context, parent.get_span_context(), attributes)
            context = trace.set_span_in_context(self._span, context)
        self._token = otel_context.attach(context)

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
