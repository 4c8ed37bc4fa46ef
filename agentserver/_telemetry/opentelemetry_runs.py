"""Spans and metrics of durable runs, by OpenTelemetry's public API.

A run has a span of its own, begun and ended when the run ends: it may have lived in several processes, and a
span cannot. Each attempt is a span of the process that made it, and links to those before it; each step that
is carried out is a child of its attempt. All of them are of the trace of the request that asked for the run.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextvars import Token
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from multidict import CIMultiDict
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from agentserver._telemetry.attributes import (
    ERROR_TYPE,
    IDS_OF_REQUESTS,
    RUN_ATTEMPT,
    RUN_RECOVERIES,
    RUN_STATE,
    RUN_STATUS,
    STEP_FAILURES,
    STEP_NAME,
    AgentAttributes,
    Attributes,
    exception_attributes,
    type_of,
)
from agentserver._telemetry.instruments import SECONDS
from agentserver._telemetry.log_limit import ErrorLog
from agentserver._telemetry.opentelemetry_context import to_ids, with_baggage, with_remote_parent
from agentserver._telemetry.run_observer import AttemptStart, Counts, RunEnd
from agentserver._telemetry.trace_context import handler_baggage, trace_parent

_errors = ErrorLog(logging.getLogger("agentserver.telemetry"))

_LONG: Final = (*SECONDS, 900, 1800, 3600, 4 * 3600, 24 * 3600)


class RunInstruments:
    """Everything that is counted and timed of runs.

    Args:
        meter: Where the instruments are made.
        counts: How many runs there are now, by state.
    """

    def __init__(self, meter: Meter, counts: Counts) -> None:
        self.counts = counts
        # A provider reads the first of two instruments of one name alone: that has to read all hosts'.
        together = _together.setdefault(get_meter_provider(), WeakSet())
        together.add(self)
        meter.create_observable_up_down_counter(
            "agentserver.run.active",
            [partial(_active, together)],
            "{run}",
            "Durable runs that this process has in progress, or that wait for one of these",
        )
        self.duration = meter.create_histogram(
            "agentserver.run.duration",
            "s",
            "Time from the request for a durable run to its end",
            explicit_bucket_boundaries_advisory=list(_LONG),
        )
        self.steps = meter.create_histogram(
            "agentserver.run.step.duration",
            "s",
            "Duration of steps that were carried out, retries included",
            explicit_bucket_boundaries_advisory=list(SECONDS),
        )
        self.recoveries = meter.create_counter(
            "agentserver.run.recoveries", "{recovery}", "Runs that were taken up after their process had gone"
        )
        self.lag = meter.create_histogram(
            "agentserver.run.event.lag",
            "s",
            "Time from the emission of a run's event until it was stored and its readers were told",
            explicit_bucket_boundaries_advisory=list(SECONDS),
        )


_together: Final[WeakKeyDictionary[MeterProvider, WeakSet[RunInstruments]]] = WeakKeyDictionary()


def _active(together: Iterable[RunInstruments], _options: CallbackOptions) -> Iterable[Observation]:
    counts: Counter[str] = Counter()
    for instruments in together:
        counts.update(instruments.counts())
    return [Observation(count, {RUN_STATE: state}) for state, count in counts.items()]


class OpenTelemetryRuns:
    """Watches every run of a host.

    Args:
        agent: What is the same for all spans.
        tracer: Makes the spans; without it there are none.
        instruments: What is counted.
    """

    def __init__(self, agent: AgentAttributes, tracer: Tracer | None, instruments: RunInstruments) -> None:
        self.agent = agent
        self.tracer = tracer
        self.instruments = instruments

    def attempt(self, start: AttemptStart) -> AttemptSpan:
        """Begin an attempt."""
        return AttemptSpan(self, start)

    def begin(
        self,
        name: str,
        context: Context,
        attributes: Attributes,
        links: Sequence[Link] = (),
        since: int | None = None,
    ) -> Span | None:
        """Begin a span; none if there is no provider, or a processor of the user's raises."""
        if self.tracer is None:
            return None
        try:
            span = self.tracer.start_span(name, context, SpanKind.INTERNAL, attributes, links, since)
        # The processors and the sampler of a provider of the user's run in there.
        except Exception as error:  # noqa: BLE001
            _errors.report("the span of a run could not be begun", error)
            return None
        return span if span.get_span_context().is_valid else None


class AttemptSpan:
    """One attempt under way."""

    def __init__(self, observer: OpenTelemetryRuns, start: AttemptStart) -> None:
        self._observer = observer
        self._start = start
        headers = CIMultiDict(start.headers)
        ids = {"invocation_id": start.invocation_id, "session_id": start.session_id}
        asked = with_remote_parent(Context(), trace_parent(headers))
        self._asked = with_baggage(asked, handler_baggage(headers, ids))
        named = (trace_parent(CIMultiDict(traceparent=earlier)) for earlier in start.earlier)
        self._links = [Link(to_ids(span)) for span in named if span is not None]
        self._ids: Attributes = {key: ids[which] for key, which in IDS_OF_REQUESTS["invoke"].items()}
        attributes = {**self._fixed(), RUN_RECOVERIES: start.recoveries}
        name = observer.agent.run_span_name("attempt")
        self._span = observer.begin(name, self._asked, attributes, self._links)
        if start.recoveries:
            observer.instruments.recoveries.add(1)

    @property
    def traceparent(self) -> str:
        """Its span."""
        if self._span is None:
            return ""
        ids = self._span.get_span_context()
        trace_id, span_id = trace.format_trace_id(ids.trace_id), trace.format_span_id(ids.span_id)
        return f"00-{trace_id}-{span_id}-{ids.trace_flags:02x}"

    def enter(self) -> None:
        """Make its context that of the running task, with which it ends."""
        span = self._span
        context_api.attach(self._asked if span is None else trace.set_span_in_context(span, self._asked))

    def step(self, name: str, use: int) -> StepSpan:
        """Begin a step."""
        return StepSpan(self._observer, name, self._ids)

    def wrote(self, seconds: float) -> None:
        """Record how long events waited to be stored."""
        self._observer.instruments.lag.record(seconds)

    def end(self, end: RunEnd | None) -> None:
        """Record how the attempt ended, and the run with it."""
        links = list(self._links)
        if self._span is not None:
            links.append(Link(self._span.get_span_context()))
            if end is not None:
                self._span.set_attribute(RUN_STATUS, end.status)
            end_span(self._span)
        if end is None:
            return
        attributes: Attributes = {RUN_STATUS: end.status, **({ERROR_TYPE: end.code} if end.code else {})}
        self._observer.instruments.duration.record(max(0.0, end.ended - end.created), attributes)
        described = {**self._fixed(), **attributes, RUN_ATTEMPT: end.attempt}
        described[RUN_RECOVERIES] = self._start.recoveries
        since = min(end.created, end.ended)
        name = self._observer.agent.run_span_name("run")
        run = self._observer.begin(name, self._asked, described, links, int(since * 1e9))
        if run is not None:
            if end.status == "failed":
                run.set_status(Status(StatusCode.ERROR, end.code))
            end_span(run, int(end.ended * 1e9))

    def _fixed(self) -> Attributes:
        return {**self._observer.agent.fixed("invoke"), **self._ids}


class StepSpan:
    """One step under way, in the task that calls it."""

    def __init__(self, observer: OpenTelemetryRuns, name: str, ids: Attributes) -> None:
        self._instruments = observer.instruments
        self._started = time.perf_counter()
        self._failures = 0
        self._error = ""
        current = context_api.get_current()
        self._span = observer.begin(f"step {name}", current, {**observer.agent.own, **ids, STEP_NAME: name})
        self._token: Token[Context] | None = None
        if self._span is not None:
            self._token = context_api.attach(trace.set_span_in_context(self._span, current))

    def failed(self, error: BaseException, *, is_final: bool) -> None:
        """A try has failed."""
        self._failures += 1
        if self._span is not None:
            self._span.add_event("exception", exception_attributes(error))
        if is_final:
            self._error = type_of(error, "")
            if self._span is not None:
                self._span.set_attribute(ERROR_TYPE, self._error)
                self._span.set_status(Status(StatusCode.ERROR, self._error))

    def end(self) -> None:
        """Record how long the step took."""
        attributes: Attributes = {ERROR_TYPE: self._error} if self._error else {}
        self._instruments.steps.record(time.perf_counter() - self._started, attributes)
        if self._span is not None:
            self._span.set_attribute(STEP_FAILURES, self._failures)
            end_span(self._span)
        if self._token is not None:
            context_api.detach(self._token)


def end_span(span: Span, at: int | None = None) -> None:
    """End *span*, whatever a processor of the user's makes of it; *at* is in nanoseconds since 1970."""
    try:
        span.end(at)
    # The processors of a provider of the user's run in there.
    except Exception as error:  # noqa: BLE001
        _errors.report("the span of a run could not be ended", error)
