"""The framework's own spans, for as long as nobody but our exporters looks at them.

They behave as any recording span of OpenTelemetry's API, at a fifth of the SDK's price: what is the same for
all spans of an operation is made, checked and encoded once.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import getrandbits
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer
from opentelemetry.util.types import Attributes as AnyAttributes

from agentserver.core.identity import __version__
from agentserver.core.telemetry import otlp
from agentserver.core.telemetry.attributes import SCOPE, Attributes, type_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    from agentserver.core.telemetry.processors import GuardedProcessors

MAX_ATTRIBUTES: Final = 128  # OpenTelemetry's default limits
MAX_EVENTS: Final = 128
# Sampled, and of a random trace id (Trace Context level 2).
_ROOT_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED | 0x02)
# OTLP's numbers are one more than the API's.
_KINDS: Final = {kind: kind.value + 1 for kind in SpanKind}


@dataclass(frozen=True, eq=False)
class SpanTemplate:
    """What is the same for all spans of an operation.

    Args:
        name: The span's name.
        kind: The span's kind.
        attributes: The attributes that never differ.
    """

    name: str
    kind: SpanKind
    attributes: Attributes
    encoded: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded", otlp.head(self.name, _KINDS[self.kind], self.attributes))


# From template, context, the ids of the parent in that context if there is one, and attributes.
StartSpan: TypeAlias = Callable[[SpanTemplate, Context, SpanContext | None, Attributes], trace.Span]


class OwnSpan(trace.Span):
    """One span.

    Args:
        template: What it shares with others.
        context: Its ids.
        parent: Its parent's ids, if it has one.
        attributes: What it does not share.
        maker: Takes it when it has ended.
    """

    __slots__ = (
        "_context",
        "_events",
        "_own",
        "_status",
        "end_time",
        "maker",
        "name",
        "parent",
        "start_time",
        "template",
    )

    def __init__(
        self,
        template: SpanTemplate,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
        maker: OwnSpans,
    ) -> None:
        self.template = template
        self.name = template.name
        self.parent = parent
        self.start_time = time.time_ns()
        self.end_time = 0
        self._context = context
        self._own: dict[str, Any] = attributes
        self.maker = maker
        self._events: list[tuple[str, int, Mapping[str, Any]]] = []
        self._status: Status | None = None

    @property
    def context(self) -> SpanContext:
        """Its ids."""
        return self._context

    @property
    def kind(self) -> SpanKind:
        """Its kind."""
        return self.template.kind

    @property
    def attributes(self) -> Mapping[str, Any]:
        """All of its attributes."""
        return {**self.template.attributes, **self._own}

    def get_span_context(self) -> SpanContext:
        """Its ids."""
        return self._context

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return not self.end_time

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute."""
        if not self.end_time and (len(self._own) < MAX_ATTRIBUTES or key in self._own):
            self._own[key] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: AnyAttributes = None, timestamp: int | None = None) -> None:
        """Add an event, if there are not too many."""
        if not self.end_time and len(self._events) < MAX_EVENTS:
            self._events.append((name, timestamp or time.time_ns(), dict(attributes or {})))

    def add_link(self, context: SpanContext, attributes: AnyAttributes = None) -> None:
        """Nothing: the span of a request has the caller as its parent, and no links."""

    def update_name(self, name: str) -> None:
        """Call it something else."""
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status; OK is final, and unset changes nothing."""
        new = status if isinstance(status, Status) else Status(status, description)
        final = self._status is not None and self._status.status_code is StatusCode.OK
        if not final and new.status_code is not StatusCode.UNSET:
            self._status = new

    def record_exception(
        self,
        exception: BaseException,
        attributes: AnyAttributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add the event of an exception."""
        described = {
            "exception.type": type_of(exception, ""),
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**described, **(attributes or {})}, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End it and hand it on."""
        if not self.end_time:
            self.end_time = end_time or time.time_ns()
            self.maker.ended(self)

    def encode(self) -> bytes:
        """Encode it as OTLP's ``Span``."""
        context, parent, template = self._context, self.parent, self.template
        head = template.encoded
        if self.name != template.name or not template.attributes.keys().isdisjoint(self._own):
            kept = {key: value for key, value in template.attributes.items() if key not in self._own}
            head = otlp.head(self.name, _KINDS[template.kind], kept)
        parts = [
            otlp.identity(
                context.trace_id,
                context.span_id,
                parent.span_id if parent is not None else 0,
                context.trace_state.to_header() if context.trace_state else "",
            ),
            head,
            otlp.times(self.start_time, self.end_time),
            otlp.attributes(b"\x4a", self._own),
            otlp.flags(remote_parent=parent is not None and parent.is_remote),
        ]
        parts += [otlp.event(name, at, values) for name, at, values in self._events]
        if self._status is not None:
            parts.append(otlp.status(self._status.status_code.value, self._status.description or ""))
        return b"".join(parts)


class OwnSpans:
    """Makes the framework's spans: its own kind while only our exporters look at them, else the SDK's.

    Args:
        tracer: The provider's tracer, which makes the SDK's.
        exports: What the framework's own kind goes to.
        processors: Say whether nothing else looks at the provider's spans.
        resource: The provider's resource attributes.
    """

    def __init__(
        self,
        tracer: Tracer,
        exports: Sequence[SpanProcessor],
        processors: GuardedProcessors,
        resource: Mapping[str, Any],
    ) -> None:
        self._start = sdk_spans(tracer)
        self._exports = exports
        self._processors = processors
        self.resource = resource

    def __call__(
        self, template: SpanTemplate, context: Context, parent: SpanContext | None, attributes: Attributes
    ) -> trace.Span:
        """Begin a span below *parent*, which is in *context*."""
        if parent is None or not parent.is_valid:
            if not self._processors.alone:
                return self._start(template, context, parent, attributes)
            ids = SpanContext(getrandbits(128) or 1, getrandbits(64) or 1, False, _ROOT_FLAGS)
            return OwnSpan(template, ids, None, attributes, self)
        if not self._processors.alone or not parent.trace_flags & TraceFlags.SAMPLED:
            return self._start(template, context, parent, attributes)
        ids = SpanContext(
            parent.trace_id, getrandbits(64) or 1, False, parent.trace_flags, parent.trace_state
        )
        return OwnSpan(template, ids, parent, attributes, self)

    def ended(self, span: OwnSpan) -> None:
        """Hand *span* to the exporters' queues."""
        for export in self._exports:
            export.on_end(cast("ReadableSpan", span))


def sdk_spans(tracer: Tracer) -> StartSpan:
    """Spans of *tracer*, whoever's provider it is of."""

    def start(
        template: SpanTemplate, context: Context, _parent: SpanContext | None, attributes: Attributes
    ) -> trace.Span:
        return tracer.start_span(template.name, context, template.kind, {**template.attributes, **attributes})

    return start


def encode_request(spans: Sequence[OwnSpan]) -> bytes:
    """Encode *spans*, which are of one provider, as an OTLP request."""
    maker = spans[0].maker
    return otlp.request(maker.resource, (SCOPE, __version__), (span.encode() for span in spans))
