"""The tap's part for spans: a record when one begins and one when it ends, so that running ones show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import format_span_id, format_trace_id

from agentserver._telemetry.providers import make_tracer_provider, resource_of
from agentserver.inspector.records import Kind

if TYPE_CHECKING:
    from agentserver.environment import FoundryEnvironment
    from agentserver.inspector.tap import Tap

__all__ = ["SpanTap"]

_TEXT_KEPT: Final = 4096
_ATTRIBUTES_KEPT: Final = 64
_EVENTS_KEPT: Final = 32
_PLAIN: Final = (bool, int, float)


class SpanTap(SpanProcessor):
    """Puts a record of each span's beginning and end.

    Args:
        tap: Where.
    """

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._provider: object = None

    def watch(self, environment: FoundryEnvironment | None = None) -> None:
        """Be told of the spans of the agent's provider; a provider that is no SDK's tells of none.

        OpenTelemetry takes one provider for the life of a process: one of ours must not be there first.

        Args:
            environment: What to make and set a provider of, where the agent has none; ``None`` sets none.
        """
        provider: Any = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):  # nobody has set one
            if environment is None:
                return
            provider = make_tracer_provider(resource_of(environment))
            trace.set_tracer_provider(provider)
        if provider is not self._provider and hasattr(provider, "add_span_processor"):
            self._provider = provider
            provider.add_span_processor(self)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span has begun."""
        self._tap.put_later(Kind.SPAN, partial(_begun, span))

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended."""
        self._tap.put_later(Kind.SPAN, partial(_told, span))


def _begun(span: ReadableSpan) -> bytes:
    return _told(span) if span.end_time is None else b""  # its end is told right after, with all of it


def _told(span: ReadableSpan) -> bytes:
    context, parent = span.get_span_context(), span.parent
    if context is None:
        return b""
    try:
        fields: dict[str, Any] = {
            "trace": format_trace_id(context.trace_id),
            "span": format_span_id(context.span_id),
            "parent": "" if parent is None else format_span_id(parent.span_id),
            "name": span.name[:_TEXT_KEPT],
            "kind": span.kind.name.lower(),
            "scope": "" if span.instrumentation_scope is None else span.instrumentation_scope.name,
            "started": span.start_time,
            "ended": span.end_time,
            "status": span.status.status_code.name.lower(),
            "message": (span.status.description or "")[:_TEXT_KEPT],
            "attributes": _plain(span.attributes),
            "events": [
                {"at": event.timestamp, "name": event.name, "attributes": _plain(event.attributes)}
                for event in span.events[-_EVENTS_KEPT:]
            ],
        }
        return msgspec.json.encode(fields, enc_hook=str)
    # The agent goes on while this thread reads; what cannot be shown must not end the thread.
    except Exception:  # noqa: BLE001
        return b""


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes as JSON carries them, the long ones cut."""
    found: dict[str, Any] = {}
    for name, value in list((attributes or {}).items())[:_ATTRIBUTES_KEPT]:
        found[name] = value if isinstance(value, _PLAIN) else _cut(value)
    return found


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:_TEXT_KEPT]
