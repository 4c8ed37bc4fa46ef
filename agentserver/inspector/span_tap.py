"""The tap's part for spans: a record when one begins and one when it ends, so that running ones show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from agentserver._telemetry.providers import make_tracer_provider, resource_of
from agentserver.inspector.records import Kind

if TYPE_CHECKING:
    from agentserver.environment import FoundryEnvironment
    from agentserver.inspector.tap import Tap

__all__ = ["SpanTap"]

_TEXT_KEPT: Final = 4096
_ATTRIBUTES_KEPT: Final = 64
_EVENTS_KEPT: Final = 32
_KINDS: Final = {kind: kind.name.lower() for kind in SpanKind}
_STATUSES: Final = {status: status.name.lower() for status in StatusCode}
_encoder: Final = msgspec.json.Encoder(enc_hook=str)


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
        """A span has begun: that is told only if it goes on for longer than a batch waits."""
        self._tap.put_later(Kind.SPAN, _key(span), partial(_told, span))

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended."""
        self._tap.take_back(_key(span))
        if told := _told(span):
            self._tap.put(Kind.SPAN, data=told)


def _key(span: ReadableSpan) -> int:
    context = span.get_span_context()  # it is another object that ends, of the same context
    return 0 if context is None else context.span_id


def _told(span: ReadableSpan) -> bytes:
    # What cannot be shown must disturb neither the agent nor the thread that tells, while the agent goes on.
    with suppress(Exception):
        told = _encoded(span, _as_they_are)
        return told if len(told) <= _TEXT_KEPT else _encoded(span, _cut)
    with suppress(Exception):  # such as a number that JSON's readers do not take
        return _encoded(span, _cut)
    return b""


def _encoded(span: ReadableSpan, plain: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> bytes:
    context, parent, scope, status = span.context, span.parent, span.instrumentation_scope, span.status
    assert context is not None  # every span that is told of has one
    fields: dict[str, Any] = {
        "trace": f"{context.trace_id:032x}",
        "span": f"{context.span_id:016x}",
        "parent": "" if parent is None else f"{parent.span_id:016x}",
        "name": span.name[:_TEXT_KEPT],
        "kind": _KINDS[span.kind],
        "scope": "" if scope is None else scope.name,
        "started": span.start_time,
        "ended": span.end_time,
        "status": _STATUSES[status.status_code],
        "message": (status.description or "")[:_TEXT_KEPT],
        "attributes": plain(span.attributes or {}),
        "events": [
            {"at": event.timestamp, "name": event.name, "attributes": plain(event.attributes or {})}
            for event in span.events[-_EVENTS_KEPT:]
        ],
    }
    return _encoder.encode(fields)


def _as_they_are(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    copy = getattr(attributes, "copy", None)  # the SDK's own is quicker by far than going through it
    return dict(attributes) if copy is None else copy()


def _cut(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The first of *attributes*, the long ones cut."""
    found: dict[str, Any] = {}
    for name, value in list(attributes.items())[:_ATTRIBUTES_KEPT]:
        found[name] = value if isinstance(value, bool | float) else _text(value)[:_TEXT_KEPT]
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
