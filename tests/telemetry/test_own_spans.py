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
from opentelemetry.trace import SpanKind, Status, StatusCode, TraceFlags, TraceState

from agentserver._telemetry import otlp
from agentserver._telemetry.attributes import STATUS_CODE
from agentserver._telemetry.otel_context import caused, to_ids
from agentserver._telemetry.own_histogram import JoiningExporter, OwnHistogram
from agentserver._telemetry.own_span import MAX_EVENTS, OwnSpan, OwnSpans, SpanTemplate
from agentserver._telemetry.processors import make_processors
from agentserver._telemetry.providers import _takes_own_spans
from agentserver._telemetry.trace_context import TraceParent

PB: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
VALUE = st.one_of(
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(TEXT, max_size=3).map(tuple),
)
PARENT = TraceParent(f"{0xAB << 64:032x}", f"{0xCD:016x}", 1, "vendor=1")
LOCAL_PARENT = PARENT._replace(state="", is_remote=False)
IDS = {"invocation_id": "the invocation", "session_id": "the session"}
ID_ATTRIBUTES = {"a.response": "invocation_id", "a.session": "session_id", "b.session": "session_id"}


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
    return OwnSpans(provider.get_tracer("agentserver"), keeper.spans.append, processors), keeper, provider


def template(fixed: Mapping[str, Any]) -> SpanTemplate:
    return SpanTemplate("invoke_agent 100%", SpanKind.SERVER, dict(fixed), ID_ATTRIBUTES)


def decoded(span: OwnSpan) -> Any:
    request = PB.ExportTraceServiceRequest.FromString(otlp.request({"service.name": "s"}, [span.encode()]))
    return request.resource_spans[0].scope_spans[0].spans[0]


def begin(fixed: Mapping[str, Any], parent: TraceParent | None = PARENT) -> OwnSpan:
    make, _, _ = maker()
    span = make.begin(template(fixed), parent, IDS, Context(), {})
    assert isinstance(span, OwnSpan)
    return span


def sdk_span(
    fixed: Mapping[str, Any], ids: Mapping[str, str], parent: TraceParent | None
) -> tuple[Span, Keeper]:
    """What the SDK makes of the same."""
    keeper = Keeper()
    provider = TracerProvider(resource=Resource({"service.name": "s"}))
    provider.add_span_processor(keeper)
    attributes = {**fixed, **{key: ids[which] for key, which in ID_ATTRIBUTES.items()}}
    context = Context() if parent is None else caused(Context(), parent)
    if parent is not None and not parent.is_remote:
        context = trace.set_span_in_context(trace.NonRecordingSpan(to_ids(parent)), context)
    span = provider.get_tracer("agentserver").start_span(
        "invoke_agent 100%", context, SpanKind.SERVER, attributes
    )
    assert isinstance(span, Span)
    return span, keeper


def normal(message: Any) -> Any:
    """*message* without what differs between two spans of the same."""
    message.span_id = b"the same"
    message.start_time_unix_nano = message.end_time_unix_nano = 5
    if not message.status.code:
        message.ClearField("status")  # the SDK writes an empty one
    if not message.parent_span_id:
        message.trace_id = b"the same"
    pairs = sorted(message.attributes, key=lambda pair: pair.key)
    del message.attributes[:]
    message.attributes.extend(pairs)
    return message


@given(
    fixed=st.dictionaries(TEXT, TEXT, max_size=4),
    attributes=st.dictionaries(TEXT, VALUE, max_size=6),
    name=TEXT,
)
def test_an_own_span_is_encoded_as_the_sdk_would_encode_it(
    fixed: dict[str, str], attributes: dict[str, Any], name: str
) -> None:
    own = begin(fixed)
    sdk, keeper = sdk_span(fixed, IDS, PARENT)
    for span in (own, sdk):
        span.set_attributes(attributes)
        span.update_name(name)
        span.add_event("event", dict(attributes), timestamp=7)
        span.set_status(Status(StatusCode.ERROR, name))
        span.end(9)
    expected = encode_spans(keeper.spans).resource_spans[0].scope_spans[0].spans[0]
    assert normal(decoded(own)) == normal(expected)


@given(
    invocation_id=st.text("abc-%", min_size=1, max_size=256),
    session_id=st.text("0123", min_size=1, max_size=256),
    status=st.integers(100, 599),
    parent=st.sampled_from([None, PARENT, PARENT._replace(state=""), LOCAL_PARENT]),
)
def test_a_span_of_which_nothing_was_set_is_encoded_as_the_sdk_would_encode_it(
    invocation_id: str, session_id: str, status: int, parent: TraceParent | None
) -> None:
    ids = {"invocation_id": invocation_id, "session_id": session_id}
    make, _, _ = maker()
    own = make.begin(template({"fixed": "50%"}), parent, ids, Context(), {})
    assert isinstance(own, OwnSpan)
    own.finish(status)
    sdk, keeper = sdk_span({"fixed": "50%"}, ids, parent)
    sdk.set_attribute(STATUS_CODE, status)
    sdk.end()
    expected = encode_spans(keeper.spans).resource_spans[0].scope_spans[0].spans[0]
    found = decoded(own)
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (own.start_time, own.end_time)
    assert found.trace_id.hex() == own.trace_id
    assert found.span_id.hex() == own.span_id
    assert normal(found) == normal(expected)


def test_ids_of_made_up_lengths_do_not_fill_memory() -> None:
    make, _, _ = maker()
    shared = template({})
    for length in range(1, 200):
        ids = {"invocation_id": "i" * length, "session_id": "s"}
        span = make.begin(shared, None, ids, Context(), {})
        assert isinstance(span, OwnSpan)
        span.finish(200)
        assert decoded(span).attributes[1].value.string_value == "i" * length
    assert len(shared.forms) == 64


def test_a_request_of_own_spans_has_the_resource_and_the_scope() -> None:
    span = begin({})
    span.end()
    several = span.encode() + span.encode()
    message = otlp.request({"service.name": "s"}, [several, span.encode()])
    (resource,) = PB.ExportTraceServiceRequest.FromString(message).resource_spans
    assert resource.resource.attributes[0].value.string_value == "s"
    assert resource.scope_spans[0].scope.name == "agentserver"
    assert len(resource.scope_spans[0].spans) == 3


def test_a_handler_can_use_an_own_span_as_any_other() -> None:
    span = begin({"fixed": "1"}, parent=None)
    assert span.is_recording()
    assert span.name == "invoke_agent 100%"
    span.set_attribute("fixed", "3")
    span.set_attribute("a.session", "4")
    span.record_exception(ValueError("no"))
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "too late")
    span.finish(200)
    span.end()
    span.set_attribute("late", 1)
    assert not span.is_recording()
    expected = {"fixed": "3", "a.response": "the invocation", "a.session": "4", "b.session": "the session"}
    assert span.attributes == expected
    message = decoded(span)
    assert not message.parent_span_id
    values = {pair.key: pair.value.string_value or pair.value.int_value for pair in message.attributes}
    assert values == {**expected, STATUS_CODE: 200}
    assert (message.events[0].name, message.status.code) == ("exception", StatusCode.OK.value)


def test_the_children_of_an_own_span_find_it_in_the_context() -> None:
    root, child = begin({}, parent=None), begin({})
    assert root.get_span_context().trace_flags & TraceFlags.SAMPLED
    assert trace.format_trace_id(root.get_span_context().trace_id) == root.trace_id
    assert trace.format_span_id(child.get_span_context().span_id) == child.span_id
    assert child.get_span_context().trace_id == 0xAB << 64
    assert child.get_span_context().trace_state == TraceState([("vendor", "1")])
    assert not child.get_span_context().is_remote
    assert child.context is child.get_span_context()


def test_events_of_a_long_connection_do_not_fill_memory() -> None:
    span = begin({})
    for number in range(10 * MAX_EVENTS):
        span.add_event(str(number))
        span.set_attribute(str(number), number)
    span.end()
    message = decoded(span)
    assert (len(message.events), len(message.attributes)) == (MAX_EVENTS, 128 + len(ID_ATTRIBUTES))


def test_from_the_moment_that_somebody_else_looks_the_spans_are_the_sdks() -> None:
    make, keeper, provider = maker()
    make.begin(template({"fixed": "1"}), None, IDS, Context(), {}).end()
    other = Keeper()
    provider.add_span_processor(other)
    second = make.begin(template({"fixed": "1"}), None, IDS, Context(), {})
    second.end()
    assert isinstance(keeper.spans[0], OwnSpan)
    assert isinstance(second, Span)
    (seen,) = other.spans
    assert dict(seen.attributes)["a.response"] == "the invocation"
    assert dict(seen.attributes)["fixed"] == "1"


def test_a_caller_that_does_not_sample_is_not_overruled() -> None:
    make, keeper, _ = maker()
    parent = PARENT._replace(flags=0)
    span = make.begin(template({}), parent, IDS, Context(), {})
    span.end()
    assert not span.is_recording()
    assert span.get_span_context().trace_id == 0xAB << 64
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
