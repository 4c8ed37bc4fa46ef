"""From a request's headers to the OpenTelemetry context that its handler runs in."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from agentserver._telemetry import trace_context as w3c
from agentserver._telemetry.trace_context import TraceParent
from agentserver.wire import TRACESTATE_HEADER

# Where the API keeps baggage in a context: it has no way to set several entries at once.
(_BAGGAGE_KEY,) = baggage.set_baggage("any", "thing", Context())


def parent_of(headers: Mapping[str, str], caller: TraceParent | None, context: Context) -> TraceParent | None:
    """The span that caused a request, if there is one: *caller*, which its *headers* name, or a nearer one.

    A span that is in *context* already, as an instrumentation around the application makes one, comes before
    the caller's.
    """
    local = span_in(context) if context else None
    if local is not None:
        return local
    if caller is not None and TRACESTATE_HEADER in headers:
        return caller._replace(state=w3c.state_header(w3c.trace_state(headers)))
    return caller


def span_in(context: Context) -> TraceParent | None:
    """The span that is current in *context*, if one is."""
    ids = trace.get_current_span(context).get_span_context()
    if not ids.is_valid:
        return None
    return TraceParent(
        trace.format_trace_id(ids.trace_id),
        trace.format_span_id(ids.span_id),
        ids.trace_flags,
        ids.trace_state.to_header(),
        ids.is_remote,
    )


def to_ids(span: TraceParent) -> SpanContext:
    """*span* as the API knows it."""
    return SpanContext(
        int(span.trace_id, 16),
        int(span.span_id, 16),
        is_remote=span.is_remote,
        trace_flags=TraceFlags(span.flags),
        trace_state=TraceState.from_header([span.state]) if span.state else None,
    )


def with_remote_parent(context: Context, parent: TraceParent | None) -> Context:
    """*context* in which *parent* is current, if it is of another process; one of this process is already."""
    if parent is None or not parent.is_remote:
        return context
    return trace.set_span_in_context(NonRecordingSpan(to_ids(parent)), context)


def with_baggage(context: Context, entries: Mapping[str, object]) -> Context:
    """*context* with *entries* in its baggage, over what it has."""
    if context:
        return Context({**context, _BAGGAGE_KEY: {**baggage.get_all(context), **entries}})
    return Context({_BAGGAGE_KEY: entries})
