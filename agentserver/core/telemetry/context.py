"""From a request's headers to the OpenTelemetry context that its handler runs in."""

from __future__ import annotations

from opentelemetry import baggage, trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from agentserver.core._exchange import Exchange
from agentserver.core.telemetry import w3c


def parent_context(exchange: Exchange) -> Context:
    """The context in which an exchange's handler, or its span, begins.

    A span that is current already, as an instrumentation around the application makes one, stays the parent.
    """
    headers = exchange.incoming
    context = get_current()
    if not trace.get_current_span(context).get_span_context().is_valid:
        remote = w3c.trace_parent(headers)
        if remote is not None:
            span = NonRecordingSpan(_span_context(remote, w3c.trace_state(headers)))
            context = trace.set_span_in_context(span, context)
    return with_baggage({**w3c.baggage(headers), **w3c.own_baggage(headers, exchange.correlation)}, context)


def with_baggage(entries: dict[str, str], context: Context) -> Context:
    """*context* with *entries* in its baggage."""
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    return context


def _span_context(remote: w3c.TraceParent, state: list[tuple[str, str]]) -> SpanContext:
    return SpanContext(
        int(remote.trace_id, 16),
        int(remote.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(remote.flags),
        trace_state=TraceState(state),
    )
