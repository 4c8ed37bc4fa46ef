"""What the ``OTEL_*`` variables say, read without OpenTelemetry; what cannot be used is said at start."""

from __future__ import annotations

import sys

import pytest

from agentserver._telemetry.settings import GRPC, HTTP, ExportSettings, SignalExport
from agentserver.errors import ConfigurationError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_settings_need_no_opentelemetry() -> None:
    assert "opentelemetry" not in vars(sys.modules["agentserver._telemetry.settings"])


def test_one_endpoint_serves_all_signals_with_their_paths() -> None:
    settings = ExportSettings.read({ENDPOINT: "http://collector:4318/"})
    assert settings.traces == SignalExport("http://collector:4318/v1/traces", HTTP)
    assert settings.metrics == SignalExport("http://collector:4318/v1/metrics", HTTP)
    assert settings.logs == SignalExport("http://collector:4318/v1/logs", HTTP)


def test_a_signals_own_endpoint_is_taken_as_it_is_and_the_others_stay_off() -> None:
    settings = ExportSettings.read({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector/t"})
    assert settings == ExportSettings(traces=SignalExport("http://collector/t", HTTP))


def test_the_port_of_grpc_means_grpc_unless_the_protocol_is_named() -> None:
    endpoint = {ENDPOINT: "http://collector:4317"}
    assert ExportSettings.read(endpoint).traces == SignalExport("http://collector:4317", GRPC)
    named = ExportSettings.read({**endpoint, "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf"})
    assert (named.traces, named.logs) == (
        SignalExport("http://collector:4317", GRPC),
        SignalExport("http://collector:4317/v1/logs", HTTP),
    )


def test_single_signals_can_be_turned_off() -> None:
    settings = ExportSettings.read({ENDPOINT: "http://collector:4318", "OTEL_LOGS_EXPORTER": "none"})
    assert settings.logs is None
    assert settings.metrics is not None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (ENDPOINT, "collector:4317", "a URL such as http://localhost:4318"),
        (ENDPOINT, "http://[", "a URL such as http://localhost:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "one of grpc, http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "udp", "one of grpc, http/protobuf"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "one of otlp, none"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "one of always_on, always_off"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "a number from 0 to 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "a whole number from 1 up"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "a whole number from 1 up"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "0.5", "a whole number from 1 up"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "a whole number from 1 up"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "a whole number from 0 up"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "a number from 0 up"),
        ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "nan", "a number from 0 up"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zip", "one of none, gzip, deflate"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "one of cumulative, delta, lowmemory"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "some", "one of always_on, always_off, trace_based"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1", "a whole number from 1 up"),
    ],
)
def test_a_bad_variable_is_refused_by_name(name: str, value: str, expected: str) -> None:
    variables = {ENDPOINT: "http://collector:4318", "OTEL_TRACES_SAMPLER": "traceidratio", name: value}
    with pytest.raises(ConfigurationError) as caught:
        ExportSettings.read(variables)
    assert str(caught.value).startswith(f"{name} is {value!r}, but it must be {expected}")


@pytest.mark.parametrize(("batch", "queue"), [("512", "100"), ("", "100"), ("4096", "")])
@pytest.mark.parametrize("kind", ["OTEL_BSP", "OTEL_BLRP"])
def test_a_batch_that_is_larger_than_its_queue_is_refused(kind: str, batch: str, queue: str) -> None:
    sizes = {f"{kind}_MAX_EXPORT_BATCH_SIZE": batch, f"{kind}_MAX_QUEUE_SIZE": queue}
    with pytest.raises(ConfigurationError, match=f"{kind}_MAX_QUEUE_SIZE is {queue or 2048}, but a batch"):
        ExportSettings.read({ENDPOINT: "http://collector:4318", **sizes})
