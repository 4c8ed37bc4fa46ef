"""The framework's spans reach the exporter many at a time, and whatever is wrong with it costs no request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from agentserver._telemetry import otlp
from agentserver._telemetry.own_batch import OwnBatch
from agentserver._telemetry.own_span import OwnSpan, OwnSpans, SpanTemplate
from agentserver._telemetry.processors import make_processors
from agentserver._telemetry.settings import BatchLimits

PB: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
TEMPLATE = SpanTemplate("x", SpanKind.SERVER, {}, {"a": "invocation_id", "b": "session_id"})
NEVER = 600.0
SECONDS = 10.0


class Exporter:
    """Keeps the sizes of batches and the invocations in them; it may be held up or fail."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.invocations: list[str] = []
        self.exported = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()
        self.fails = 0

    def export(self, batch: list[bytes]) -> None:
        assert self.free.wait(SECONDS)
        if self.fails:
            self.fails -= 1
            self.exported.release()
            raise OSError("no collector")
        message = PB.ExportTraceServiceRequest.FromString(otlp.request({}, batch))
        spans = message.resource_spans[0].scope_spans[0].spans
        invocations = [{pair.key: pair.value.string_value for pair in span.attributes} for span in spans]
        self.batches.append(len(spans))
        self.invocations += [attributes["a"] for attributes in invocations]
        self.exported.release()


@contextmanager
def working(exporter: Exporter, limits: BatchLimits) -> Generator[tuple[OwnBatch, OwnSpans]]:
    """A batch before *exporter*, and what makes spans for it."""
    batch = OwnBatch(exporter, limits)
    try:
        yield batch, OwnSpans(TracerProvider().get_tracer("agentserver"), batch.take, make_processors())
    finally:
        exporter.free.set()
        batch.shutdown()


def end(spans: OwnSpans, number: object) -> None:
    ids = {"invocation_id": str(number), "session_id": "s"}
    span = spans.begin(TEMPLATE, None, ids, Context(), {})
    assert isinstance(span, OwnSpan)
    span.finish(200)


def test_as_many_go_together_as_may_and_none_is_lost_or_sent_twice() -> None:
    exporter = Exporter()
    with working(exporter, BatchLimits(NEVER, 64, 1000)) as (_, spans):
        for number in range(300):
            end(spans, number)
    assert sorted(map(int, exporter.invocations)) == list(range(300))
    assert max(exporter.batches) <= 64


async def test_a_full_batch_does_not_wait_for_its_time() -> None:
    exporter = Exporter()
    with working(exporter, BatchLimits(NEVER, 64, 1000)) as (_, spans):
        for number in range(64):
            end(spans, number)
        assert exporter.exported.acquire(timeout=SECONDS)
        assert exporter.batches == [64]


async def test_a_few_wait_until_it_is_time() -> None:
    exporter = Exporter()
    with working(exporter, BatchLimits(0.05, 64, 1000)) as (_, spans):
        end(spans, 1)
        end(spans, 2)
        assert not exporter.invocations
        assert await asyncio.to_thread(exporter.exported.acquire, timeout=SECONDS)
    assert exporter.invocations == ["1", "2"]


async def test_a_flush_waits_for_nothing() -> None:
    exporter = Exporter()
    with working(exporter, BatchLimits(NEVER, 64, 1000)) as (batch, spans):
        end(spans, 1)
        assert batch.force_flush()
        assert exporter.invocations == ["1"]


async def test_what_still_waits_at_shutdown_is_sent() -> None:
    exporter = Exporter()
    with working(exporter, BatchLimits(NEVER, 64, 1000)) as (batch, spans):
        end(spans, 1)
        batch.shutdown()
        assert exporter.invocations == ["1"]
        end(spans, "too late")
    assert exporter.invocations == ["1"]


async def test_a_span_may_end_in_a_thread() -> None:
    exporter = Exporter()
    with working(exporter, BatchLimits(NEVER, 64, 1000)) as (batch, spans):
        await asyncio.to_thread(end, spans, 1)
        await asyncio.to_thread(batch.force_flush)
        assert exporter.invocations == ["1"]


def test_a_slow_collector_costs_spans_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter()
    exporter.free.clear()
    with working(exporter, BatchLimits(NEVER, 32, 64)) as (_, spans):
        for number in range(1000):
            end(spans, number)
        exporter.free.set()
    assert 64 <= len(exporter.invocations) <= 96
    assert [record.message for record in caplog.records] == [
        "spans are dropped: the collector takes them more slowly than they are made"
    ]


async def test_an_exporter_that_fails_is_called_again(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter()
    exporter.fails = 1
    with working(exporter, BatchLimits(NEVER, 32, 1000)) as (_, spans):
        for number in range(32):
            end(spans, number)
        assert exporter.exported.acquire(timeout=SECONDS)
        end(spans, "after")
    assert exporter.invocations == ["after"]
    assert [record.message for record in caplog.records] == ["spans could not be exported"]


def test_an_attribute_that_cannot_be_written_costs_its_span_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError("no text")

    exporter = Exporter()
    with working(exporter, BatchLimits(NEVER, 64, 1000)) as (_, spans):
        odd = spans.begin(TEMPLATE, None, {"invocation_id": "odd", "session_id": "s"}, Context(), {})
        odd.set_attribute("odd", Odd())  # type: ignore[arg-type]  # that is what is tested
        odd.end()
        end(spans, "good")
    assert exporter.invocations == ["good"]
    assert [record.message for record in caplog.records] == ["a span could not be exported"]
