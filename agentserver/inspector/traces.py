"""What is kept of the agent's traces: spans that run, have ended or were lost with their process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

__all__ = ["Span", "Spans", "Trace", "Traces"]

TRACES_KEPT: Final = 200
SPANS_KEPT: Final = 1000
"""Of one trace."""
_MAX_SPANS: Final = 10_000
_INVOCATION: Final = "invocation_id"


@dataclass(eq=False)
class Span:
    """One span.

    Args:
        facts: What the agent's process said of it: id, parent, name, kind, scope, attributes, status, events.
        started: When it began, in nanoseconds since 1970.

    Attributes:
        ended: When it ended, if it has.
        is_lost: Whether the process ended before it.
    """

    facts: dict[str, Any]
    started: int
    ended: int | None = None
    is_lost: bool = False

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.ended is None and not self.is_lost

    @property
    def has_failed(self) -> bool:
        """Whether it ended with an error."""
        return self.facts.get("status") == "error"


@dataclass(eq=False)
class Trace:
    """The spans of one trace, as they were told of: a short one not before its end, so behind its parts."""

    id: str
    spans: OrderedDict[str, Span] = field(default_factory=OrderedDict[str, Span])
    dropped: int = 0

    def summary(self, zero: int) -> dict[str, Any]:
        """What a list shows of it; times in milliseconds since *zero*, nanoseconds since 1970."""
        spans = list(self.spans.values())
        began = min(span.started for span in spans)
        ends = [span.ended for span in spans if span.ended is not None]
        is_running = any(span.is_running for span in spans)
        root = next((span for span in spans if span.facts["parent"] not in self.spans), spans[0])
        ids = {
            str(value)
            for span in spans
            for name, value in span.facts["attributes"].items()
            if name.endswith(_INVOCATION)
        }
        return {
            "id": self.id,
            "name": root.facts["name"],
            "at": _ms(began - zero),
            "duration": None if is_running or not ends else _ms(max(ends) - began),
            "spans": len(spans) + self.dropped,
            "failed": sum(span.has_failed for span in spans),
            "running": sum(span.is_running for span in spans),
            "invocations": sorted(ids)[:20],
        }

    def detail(self, zero: int) -> dict[str, Any]:
        """All of it, in the order of beginnings; times in milliseconds since the first of them."""
        spans = sorted(self.spans.values(), key=attrgetter("started"))
        began = spans[0].started
        shown = [
            {
                **span.facts,
                "at": _ms(span.started - began),
                "duration": None if span.ended is None else _ms(span.ended - span.started),
                "lost": span.is_lost,
                "events": [
                    {**event, "at": _ms(event["at"] - began)} for event in span.facts.get("events", [])
                ],
            }
            for span in spans
        ]
        return {**self.summary(zero), "dropped": self.dropped, "list": shown}


class Traces:
    """The newest traces: 200 at most, with 10,000 spans in all."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Trace] = OrderedDict()
        self._spans = 0
        self.dropped = 0

    def get(self, name: str) -> Trace | None:
        """The trace of that id, if it is kept."""
        return self._all.get(name)

    def all(self) -> list[Trace]:
        """Those that are kept, the oldest first."""
        return list(self._all.values())

    def clear(self) -> None:
        """Forget those in which nothing runs."""
        for trace in self.all():
            if not any(span.is_running for span in trace.spans.values()):
                self._forget(trace)

    def take(self, facts: dict[str, Any]) -> Trace:
        """Take note of a span: that it has begun, that it has ended, or both at once."""
        trace = self._all.get(facts["trace"])
        if trace is None:
            trace = self._all[facts["trace"]] = Trace(facts["trace"])
        span = Span(facts, facts.pop("started"), facts.pop("ended"))
        if facts["span"] in trace.spans:
            trace.spans[facts["span"]] = span
            return trace
        trace.spans[facts["span"]] = span
        self._spans += 1
        if len(trace.spans) > SPANS_KEPT:
            trace.spans.popitem(last=False)
            trace.dropped += 1
            self._spans -= 1
        while len(self._all) > TRACES_KEPT or (self._spans > _MAX_SPANS and len(self._all) > 1):
            self._forget(next(iter(self._all.values())))
            self.dropped += 1
        return trace

    def _forget(self, trace: Trace) -> None:
        del self._all[trace.id]
        self._spans -= len(trace.spans)


class Spans:
    """Takes the spans of one process of the agent.

    Args:
        traces: Where they are kept.
        changed: Told of each trace that something has happened to.
    """

    def __init__(self, traces: Traces, changed: Callable[[Trace], object]) -> None:
        self._traces = traces
        self._changed = changed
        self._running: dict[tuple[str, str], Trace] = {}

    def take(self, facts: dict[str, Any]) -> None:
        """Take what the tap said of a span."""
        key = (facts["trace"], facts["span"])
        is_running = facts["ended"] is None
        trace = self._traces.take(facts)
        if is_running:
            self._running[key] = trace
        else:
            self._running.pop(key, None)
        self._changed(trace)

    def stop(self) -> None:
        """The process has ended, and with it what ran."""
        for (_, name), trace in self._running.items():
            span = trace.spans.get(name)
            if span is not None:
                span.is_lost = True
                self._changed(trace)
        self._running.clear()


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / 1e6, 3)
