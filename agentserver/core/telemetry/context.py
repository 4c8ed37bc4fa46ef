"""From a request's headers to the OpenTelemetry context that its handler runs in."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import baggage, trace
from opentelemetry.context import Context, get_current
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from agentserver.core._exchange import Exchange
from agentserver.core.telemetry import w3c
from agentserver.wire import BAGGAGE_HEADER, TRACEPARENT_HEADER

# Where the API keeps baggage in a context: it has no way to set several entries at once.
(_BAGGAGE_KEY,) = baggage.set_baggage("any", "thing", Context())


def parent_context(exchange: Exchange) -> tuple[Context, SpanContext | None]:
    """The context in which an exchange's handler, or its span, begins, and the ids of the span in it.

    A span that is current already, as an instrumentation around the application makes one, stays the parent.
    """
    headers = exchange.incoming
    context = get_current()
    ids: SpanContext | None = trace.get_current_span(context).get_span_context() if context else None
    if TRACEPARENT_HEADER in headers and (ids is None or not ids.is_valid):
        remote = w3c.trace_parent(headers)
        ids = None if remote is None else _span_context(remote, w3c.trace_state(headers))
        if ids is not None:
            context = trace.set_span_in_context(NonRecordingSpan(ids), context)
    entries = w3c.own_baggage(headers, exchange.correlation)
    if BAGGAGE_HEADER in headers:
        entries = {**w3c.baggage(headers), **entries}
    return with_baggage(entries, context), ids


def with_baggage(entries: Mapping[str, object], context: Context) -> Context:
    """*context* with *entries* in its baggage."""
    if not entries:
        return context
    if _BAGGAGE_KEY in context:
        entries = {**baggage.get_all(context), **entries}
    return Context({**context, _BAGGAGE_KEY: entries})


def _span_context(remote: w3c.TraceParent, state: list[tuple[str, str]]) -> SpanContext:
    return SpanContext(
        int(remote.trace_id, 16),
        int(remote.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(remote.flags),
        trace_state=TraceState(state),
    )
