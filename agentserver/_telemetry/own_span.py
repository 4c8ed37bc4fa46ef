"""The framework's own spans, for as long as nobody but our exporters looks at them.

They behave as any recording span of OpenTelemetry's API, at a tenth of the SDK's price: what is the same for
all spans of an operation is made, checked and encoded once, and ids stay the text that they came as.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer
from opentelemetry.util.types import Attributes as AnyAttributes

from agentserver._http.ids import new_trace_id
from agentserver._telemetry import otlp
from agentserver._telemetry.attributes import STATUS_CODE, Attributes, type_of
from agentserver._telemetry.otel_context import caused, extended, to_ids
from agentserver._telemetry.trace_context import TraceParent

if TYPE_CHECKING:
    from agentserver._telemetry.processors import GuardedProcessors

MAX_ATTRIBUTES: Final = 128  # OpenTelemetry's default limits
MAX_EVENTS: Final = 128
_MAX_FORMS: Final = 64  # clients choose the length of ids
# Sampled, and of a random trace id (Trace Context level 2).
_ROOT_FLAGS: Final = TraceFlags.SAMPLED | 0x02
# OTLP's numbers are one more than the API's.
_KINDS: Final = {kind: kind.value + 1 for kind in SpanKind}


@dataclass(frozen=True, eq=False)
class SpanTemplate:
    """What is the same for all spans of an operation.

    Args:
        name: The span's name.
        kind: The span's kind.
        attributes: The attributes that never differ.
        ids: The attributes that tell one span from the next; each is ``invocation_id`` or ``session_id``.
    """

    name: str
    kind: SpanKind
    attributes: Attributes
    ids: Mapping[str, str]
    forms: dict[object, bytes] = field(default_factory=dict[object, bytes], init=False)
    texts: Callable[[tuple[bytes, bytes]], tuple[bytes, ...]] = field(init=False)

    def __post_init__(self) -> None:
        places = [("invocation_id", "session_id").index(which) for which in self.ids.values()]
        object.__setattr__(self, "texts", itemgetter(*places))

    def attributes_of(self, ids: Mapping[str, str]) -> Attributes:
        """All attributes of the span that *ids* tell from others."""
        return {**self.attributes, **{key: ids[which] for key, which in self.ids.items()}}

    def form(self, invocation_id: int, session_id: int, status_code: int, is_remote: bool | None) -> bytes:
        """The spans of this template of which nothing was set, encoded, with gaps for what differs.

        The gaps are for `otlp.identity`, `texts` of the ids, and `otlp.times`.

        Args:
            invocation_id: The length of this id.
            session_id: The length of this id.
            status_code: The HTTP status; 0 is none.
            is_remote: Whether the parent is of another process; ``None`` without a parent.
        """
        sizes = {"invocation_id": invocation_id, "session_id": session_id}
        parts: list[bytes | otlp.Gap] = [
            otlp.Gap(otlp.IDENTITY_SIZE if is_remote is None else otlp.IDENTITY_SIZE_OF_CHILD),
            otlp.head(self.name, _KINDS[self.kind]),
            otlp.attributes(otlp.OF_SPAN, self.attributes),
            otlp.attributes(otlp.OF_SPAN, {STATUS_CODE: status_code} if status_code else {}),
            otlp.flags(remote_parent=bool(is_remote)),
        ]
        for key, which in self.ids.items():
            parts += (otlp.before_text(otlp.OF_SPAN, key, sizes[which]), otlp.Gap(sizes[which]))
        parts.append(otlp.Gap(otlp.TIMES_SIZE))
        form = otlp.form(parts)
        if len(self.forms) < _MAX_FORMS:
            self.forms[invocation_id, session_id, status_code, is_remote] = form
        return form


class Spans(Protocol):
    """Makes the spans of exchanges and actions."""

    def begin(
        self,
        template: SpanTemplate,
        parent: TraceParent | None,
        ids: Mapping[str, str],
        context: Context,
        entries: Mapping[str, object],
    ) -> trace.Span:
        """Begin a span.

        Args:
            template: What it shares with others.
            parent: What caused it.
            ids: What it does not share.
            context: The context that it is begun in.
            entries: What is added to that context's baggage.
        """
        ...


# `Spans.begin` of one template.
BeginSpan: TypeAlias = Callable[
    [TraceParent | None, Mapping[str, str], Context, Mapping[str, object]], trace.Span
]


class SdkSpans:
    """Spans of *tracer*, whoever's provider it is of."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(
        self,
        template: SpanTemplate,
        parent: TraceParent | None,
        ids: Mapping[str, str],
        context: Context,
        entries: Mapping[str, object],
    ) -> trace.Span:
        """Begin a span."""
        context = caused(extended(context, entries, None), parent)
        return self._tracer.start_span(template.name, context, template.kind, template.attributes_of(ids))


class OwnSpan(trace.Span):
    """One span.

    Args:
        template: What it shares with others.
        parent: Its parent, if it has one.
        ids: What it does not share.
        take: Takes it when it has ended.
    """

    # Defaults stand on the class: few spans have these before they end.
    end_time = 0
    _status_code = 0
    _is_plain = True
    _renamed = ""
    _context: SpanContext | None = None
    _events: Sequence[tuple[str, int, Mapping[str, Any]]] = ()
    _status: Status | None = None
    _own: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        template: SpanTemplate,
        parent: TraceParent | None,
        ids: Mapping[str, str],
        take: Callable[[OwnSpan], object],
    ) -> None:
        self.template = template
        self.parent = parent
        self.ids = ids
        self.trace_id = new_trace_id() if parent is None else parent.trace_id
        self.span_id = new_trace_id()[:16]
        self.start_time = time.time_ns()
        self._take = take

    @property
    def context(self) -> SpanContext:
        """Its ids."""
        return self.get_span_context()

    @property
    def name(self) -> str:
        """Its name."""
        return self._renamed or self.template.name

    @property
    def kind(self) -> SpanKind:
        """Its kind."""
        return self.template.kind

    @property
    def attributes(self) -> Mapping[str, Any]:
        """All of its attributes."""
        return {**self.template.attributes_of(self.ids), **self._own}

    def get_span_context(self) -> SpanContext:
        """Its ids."""
        if self._context is None:
            parent = self.parent
            flags, state = (_ROOT_FLAGS, "") if parent is None else (parent.flags, parent.state)
            self._context = to_ids(TraceParent(self.trace_id, self.span_id, flags, state, is_remote=False))
        return self._context

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return not self.end_time

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute."""
        if not self.end_time and (len(self._own) < MAX_ATTRIBUTES or key in self._own):
            self._own = {**self._own, key: value}
            self._is_plain = False

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: AnyAttributes = None, timestamp: int | None = None) -> None:
        """Add an event, if there are not too many."""
        if not self.end_time and len(self._events) < MAX_EVENTS:
            self._is_plain = False
            self._events = (*self._events, (name, timestamp or time.time_ns(), dict(attributes or {})))

    def add_link(self, context: SpanContext, attributes: AnyAttributes = None) -> None:
        """Nothing: the span of a request has the caller as its parent, and no links."""

    def update_name(self, name: str) -> None:
        """Call it something else."""
        self._is_plain = False
        self._renamed = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status; OK is final, and unset changes nothing."""
        new = status if isinstance(status, Status) else Status(status, description)
        final = self._status is not None and self._status.status_code is StatusCode.OK
        if not final and new.status_code is not StatusCode.UNSET:
            self._is_plain = False
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
            self._take(self)

    def finish(self, status_code: int) -> None:
        """End it with nothing more to say than the HTTP status."""
        if not self.end_time:
            self._status_code = status_code
            self.end_time = time.time_ns()
            self._take(self)

    def encode(self) -> bytes:
        """Encode it as a field of OTLP's ``ScopeSpans``."""
        parent = self.parent
        if not self._is_plain or (parent is not None and parent.state):
            return self._encode_all()
        invocation_id, session_id = self.ids["invocation_id"].encode(), self.ids["session_id"].encode()
        is_remote = None if parent is None else parent.is_remote
        key = (len(invocation_id), len(session_id), self._status_code, is_remote)
        form = self.template.forms.get(key) or self.template.form(*key)
        identity = otlp.identity(self.trace_id, self.span_id, "" if parent is None else parent.span_id)
        times = otlp.times(self.start_time, self.end_time)
        return form % (identity, *self.template.texts((invocation_id, session_id)), times)

    def _encode_all(self) -> bytes:
        parent = self.parent
        status = {STATUS_CODE: self._status_code} if self._status_code else {}
        parts = [
            otlp.identity(self.trace_id, self.span_id, "" if parent is None else parent.span_id),
            otlp.trace_state("" if parent is None else parent.state),
            otlp.head(self.name, _KINDS[self.kind]),
            otlp.attributes(otlp.OF_SPAN, {**self.attributes, **status}),
            otlp.times(self.start_time, self.end_time),
            otlp.flags(remote_parent=parent is not None and parent.is_remote),
            *[otlp.event(name, at, values) for name, at, values in self._events],
        ]
        if self._status is not None:
            parts.append(otlp.status(self._status.status_code.value, self._status.description or ""))
        return otlp.span(b"".join(parts))


class OwnSpans:
    """Makes the framework's spans: its own kind while only our exporters look at them, else the SDK's.

    Args:
        tracer: The provider's tracer, which makes the SDK's.
        take: Takes the framework's own kind when they have ended.
        processors: Say whether nothing else looks at the provider's spans.
    """

    def __init__(
        self, tracer: Tracer, take: Callable[[OwnSpan], object], processors: GuardedProcessors
    ) -> None:
        self._sdk = SdkSpans(tracer)
        self._take = take
        self._processors = processors

    def begin(
        self,
        template: SpanTemplate,
        parent: TraceParent | None,
        ids: Mapping[str, str],
        context: Context,
        entries: Mapping[str, object],
    ) -> trace.Span:
        """Begin a span."""
        if self._processors.alone and (parent is None or parent.flags & TraceFlags.SAMPLED):
            return OwnSpan(template, parent, ids, self._take)
        return self._sdk.begin(template, parent, ids, context, entries)
