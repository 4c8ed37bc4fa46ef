"""The framework's own spans and histograms say what OpenTelemetry's would say."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from agentserver.core.telemetry.own_histogram import JoiningExporter, OwnHistogram
from agentserver.core.telemetry.own_span import (
    MAX_EVENTS,
    OwnSpan,
    OwnSpans,
    SpanTemplate,
    encode_request,
)
from agentserver.core.telemetry.processors import make_processors
from agentserver.core.telemetry.providers import _takes_own_spans

PB: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
VALUE = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(TEXT, max_size=3).map(tuple),
)
PARENT = SpanContext(0xAB << 64, 0xCD, True, TraceFlags(1), TraceState([("vendor", "1")]))


class Keeper(SpanProcessor):
    """Keeps what ends."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def maker() -> tuple[OwnSpans, Keeper, TracerProvider]:
    """What makes own spans, what keeps them, and the provider behind it."""
    processors, keeper = make_processors(), Keeper()
    processors.add_own(keeper)
    provider = TracerProvider(resource=Resource({"service.name": "s"}), active_span_processor=processors)
    return (
        OwnSpans(provider.get_tracer("agentserver"), [keeper], processors, {"service.name": "s"}),
        keeper,
        provider,
    )


def decoded(span: OwnSpan) -> Any:
    request = PB.ExportTraceServiceRequest.FromString(encode_request([span]))
    return request.resource_spans[0].scope_spans[0].spans[0]


def begin(
    fixed: Mapping[str, Any], attributes: Mapping[str, Any], parent: SpanContext | None = PARENT
) -> OwnSpan:
    make, _, _ = maker()
    template = SpanTemplate("invoke_agent", SpanKind.SERVER, dict(fixed))
    span = make(template, Context(), parent, dict(attributes))
    assert isinstance(span, OwnSpan)
    return span


@given(
    fixed=st.dictionaries(TEXT, TEXT, max_size=4),
    attributes=st.dictionaries(TEXT, VALUE, max_size=6),
    name=TEXT,
)
def test_an_own_span_is_encoded_as_the_sdk_would_encode_it(
    fixed: dict[str, str], attributes: dict[str, Any], name: str
) -> None:
    own = begin(fixed, {})
    keeper = Keeper()
    provider = TracerProvider(resource=Resource({"service.name": "s"}))
    provider.add_span_processor(keeper)
    context = trace.set_span_in_context(trace.NonRecordingSpan(PARENT), Context())
    sdk = provider.get_tracer("agentserver").start_span("x", context, SpanKind.SERVER, dict(fixed))
    for span in (own, sdk):
        span.set_attributes(attributes)
        span.update_name(name)
        span.add_event("event", dict(attributes), timestamp=7)
        span.set_status(Status(StatusCode.ERROR, name))
        span.end(9)
    expected = encode_spans(keeper.spans).resource_spans[0].scope_spans[0].spans[0]
    found = decoded(own)
    for message in (expected, found):
        message.span_id = b"the same"
        message.start_time_unix_nano = 5
        pairs = sorted(message.attributes, key=lambda pair: pair.key)
        del message.attributes[:]
        message.attributes.extend(pairs)
    assert found == expected


def test_a_request_of_own_spans_has_the_resource_and_the_scope() -> None:
    span = begin({}, {})
    span.end()
    (resource,) = PB.ExportTraceServiceRequest.FromString(encode_request([span, span])).resource_spans
    assert resource.resource.attributes[0].value.string_value == "s"
    assert resource.scope_spans[0].scope.name == "agentserver"
    assert len(resource.scope_spans[0].spans) == 2


def test_a_handler_can_use_an_own_span_as_any_other() -> None:
    span = begin({"fixed": "1"}, {"own": "2"}, parent=None)
    assert span.is_recording()
    span.set_attribute("fixed", "3")
    span.record_exception(ValueError("no"))
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "too late")
    span.end()
    span.end()
    span.set_attribute("late", 1)
    assert not span.is_recording()
    assert span.attributes == {"fixed": "3", "own": "2"}
    message = decoded(span)
    assert not message.parent_span_id
    assert {pair.key: pair.value.string_value for pair in message.attributes} == {"fixed": "3", "own": "2"}
    assert (message.events[0].name, message.status.code) == ("exception", StatusCode.OK.value)


def test_events_of_a_long_connection_do_not_fill_memory() -> None:
    span = begin({}, {})
    for number in range(10 * MAX_EVENTS):
        span.add_event(str(number))
        span.set_attribute(str(number), number)
    span.end()
    message = decoded(span)
    assert (len(message.events), len(message.attributes)) == (MAX_EVENTS, 128)


def test_from_the_moment_that_somebody_else_looks_the_spans_are_the_sdks() -> None:
    make, keeper, provider = maker()
    template = SpanTemplate("x", SpanKind.SERVER, {"fixed": "1"})
    make(template, Context(), None, {}).end()
    other = Keeper()
    provider.add_span_processor(other)
    second = make(template, Context(), None, {"own": "2"})
    second.end()
    assert isinstance(keeper.spans[0], OwnSpan)
    assert isinstance(second, Span)
    assert [dict(span.attributes) for span in other.spans] == [{"fixed": "1", "own": "2"}]


def test_a_caller_that_does_not_sample_is_not_overruled() -> None:
    make, keeper, _ = maker()
    parent = SpanContext(1, 2, True, TraceFlags(0))
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
    span = make(SpanTemplate("x", SpanKind.SERVER, {}), context, parent, {})
    span.end()
    assert not span.is_recording()
    assert span.get_span_context().trace_id == 1
    assert not keeper.spans


def test_limits_that_the_user_sets_are_left_to_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taking:
        def takes_own_spans(self) -> bool:
            return True

    assert _takes_own_spans(Taking())
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "3")
    assert not _takes_own_spans(Taking())
    assert not _takes_own_spans(object())


class MetricKeeper(MetricExporter):
    """Keeps the points of one histogram."""

    def __init__(self, temporality: AggregationTemporality) -> None:
        super().__init__({SdkHistogram: temporality})
        self.points: list[Any] = []

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 0, **kwargs: Any
    ) -> MetricExportResult:
        for metric in metrics_data.resource_metrics[0].scope_metrics[0].metrics:
            if metric.name == "duration":
                self.points.append(list(metric.data.data_points))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
        return


def collected() -> tuple[Any, Any]:
    """What the SDK gives an exporter, with one counter in it, and a histogram of the same meter."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("agentserver")
    meter.create_counter("requests").add(1)
    histogram = meter.create_histogram("sdk", explicit_bucket_boundaries_advisory=[0.1, 1.0, 10.0])
    return reader, histogram


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_an_own_histogram_counts_as_the_sdks_does(values: list[float]) -> None:
    reader, sdk = collected()
    own = OwnHistogram("duration", "s", "", (0.1, 1.0, 10.0))
    for value in values:
        sdk.record(value, {"a": 1})
        own.record(value, {"a": 1})
    data = reader.get_metrics_data()
    keeper = MetricKeeper(AggregationTemporality.CUMULATIVE)
    JoiningExporter(keeper, [own]).export(data)
    metrics = {m.name: m for m in data.resource_metrics[0].scope_metrics[0].metrics}
    (expected,) = metrics["sdk"].data.data_points
    ((found,),) = keeper.points
    for name in ("attributes", "count", "min", "max"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.sum == pytest.approx(expected.sum)
    assert tuple(found.bucket_counts) == tuple(expected.bucket_counts)
    assert tuple(found.explicit_bounds) == tuple(expected.explicit_bounds)


def test_a_collector_that_wants_differences_gets_differences() -> None:
    reader, _ = collected()
    own = OwnHistogram("duration", "s", "", (1.0,))
    keeper = MetricKeeper(AggregationTemporality.DELTA)
    exporter = JoiningExporter(keeper, [own])
    own.record(0.5, {"a": 1})
    exporter.export(reader.get_metrics_data())
    own.record(2.0, {"a": 1})
    own.record(2.0, {"a": 2})
    exporter.export(reader.get_metrics_data())
    exporter.export(reader.get_metrics_data())
    assert [
        [(p.attributes["a"], p.count, p.sum, list(p.bucket_counts)) for p in points]
        for points in keeper.points
    ] == [
        [(1, 1, 0.5, [1, 0])],
        [(1, 1, 2.0, [0, 1]), (2, 1, 2.0, [0, 1])],
        [],
    ]


def test_made_up_attributes_do_not_fill_memory() -> None:
    own = OwnHistogram("duration", "s", "", (1.0,))
    for number in range(3000):
        own.record(1.0, {"a": number})
    assert len(own.series) == 2000
