"""What stands at the border to OpenTelemetry does what it says, with the SDK that is installed."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from agentserver._telemetry.opentelemetry_internals import EndingProcessor, log_exporter, notify_ending


@pytest.mark.parametrize(
    "package", ["opentelemetry.exporter.otlp.proto.http", "opentelemetry.exporter.otlp.proto.grpc"]
)
def test_both_exporters_have_a_class_for_log_records(package: str) -> None:
    assert callable(log_exporter(package).export)


@pytest.mark.skipif(not hasattr(SpanProcessor, "_on_ending"), reason="this SDK does not know the call yet")
def test_the_sdk_tells_a_processor_of_a_span_that_is_ending_before_it_has_ended() -> None:
    told: list[str] = []

    class Told(EndingProcessor):
        def on_ending(self, span: Span) -> None:
            told.append(f"{span.name} ending")

        def on_end(self, span: ReadableSpan) -> None:
            told.append(f"{span.name} ended")

    class Passing(EndingProcessor):
        def on_ending(self, span: Span) -> None:
            notify_ending(next_one, span)

        def on_end(self, span: ReadableSpan) -> None:
            next_one.on_end(span)

    next_one = Told()

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Passing())
    provider.get_tracer("test").start_span("work").end()
    assert told == ["work ending", "work ended"]
