"""While nothing is configured, telemetry costs nothing; what is configured wrongly is said at start."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import aiohttp
import pytest

from agentserver._telemetry.settings import GRPC, HTTP, BatchLimits, ExportSettings, SignalExport
from agentserver.errors import ConfigurationError
from tests.servers import running
from tests.telemetry.conftest import AGENT, TRACEPARENT, observing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


async def modules(**variables: str) -> list[str]:
    async with running(*AGENT, environment=variables) as server:
        async with aiohttp.ClientSession(server.url, headers={"traceparent": TRACEPARENT}) as client:
            async with client.post("/invocations", data="modules") as response:
                found: list[str] = json.loads(await response.text())
    return found


async def test_without_configuration_nothing_of_opentelemetry_is_imported() -> None:
    assert await modules() == []


async def test_a_disabled_sdk_is_not_imported_either() -> None:
    assert await modules(OTEL_SDK_DISABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9") == []


@pytest.mark.parametrize(("protocol", "other"), [("grpc", "proto.http"), ("http/protobuf", "proto.grpc")])
async def test_only_the_exporter_of_the_protocol_in_use_is_imported(protocol: str, other: str) -> None:
    async with observing(protocol) as seen:
        _, found = await seen.invoke("modules")
    assert not [name for name in found if name.startswith(f"opentelemetry.exporter.otlp.{other}")]


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
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "a whole number above 0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "a whole number above 0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1", "a whole number above 0"),
    ],
)
def test_a_bad_variable_is_refused_by_name(name: str, value: str, expected: str) -> None:
    variables = {ENDPOINT: "http://collector:4318", "OTEL_TRACES_SAMPLER": "traceidratio", name: value}
    with pytest.raises(ConfigurationError) as caught:
        ExportSettings.read(variables)
    assert str(caught.value).startswith(f"{name} is {value!r}, but it must be {expected}")


@pytest.mark.parametrize(
    ("delay", "together", "queue", "limits"),
    [
        ("", "", "", BatchLimits()),
        ("250", "10", "100", BatchLimits(0.25, 10, 100)),
        ("", "", "100", BatchLimits(5.0, 100, 100)),
        ("", "10000", "", BatchLimits(5.0, 10000, 10000)),
    ],
)
def test_the_sizes_of_batches_are_read(delay: str, together: str, queue: str, limits: BatchLimits) -> None:
    variables = {
        ENDPOINT: "http://collector:4318",
        "OTEL_BSP_SCHEDULE_DELAY": delay,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": together,
        "OTEL_BSP_MAX_QUEUE_SIZE": queue,
    }
    assert ExportSettings.read(variables).batch == limits


def test_a_batch_that_is_larger_than_its_queue_is_refused() -> None:
    sizes = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "512", "OTEL_BSP_MAX_QUEUE_SIZE": "100"}
    with pytest.raises(ConfigurationError, match="OTEL_BSP_MAX_EXPORT_BATCH_SIZE is 512, but the queue"):
        ExportSettings.read({ENDPOINT: "http://collector:4318", **sizes})


STUB = """
import sys
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
class Printing:
    def __init__(self, connection_string):
        assert connection_string == "InstrumentationKey=secret-key"
    def export(self, batch, *args, **kwargs):
        sys.stdout.write(f"{type(self).__name__} {[getattr(item, 'name', '') for item in batch]}\\n")
        return 0
    def shutdown(self, *args, **kwargs): pass
    def force_flush(self, *args, **kwargs): return True
class AzureMonitorTraceExporter(Printing): pass
class AzureMonitorLogExporter(Printing): pass
class AzureMonitorMetricExporter(Printing, MetricExporter):
    def __init__(self, connection_string):
        MetricExporter.__init__(self)
    def export(self, data, *args, **kwargs):
        sys.stdout.write(f"metrics {[m.name for m in data.resource_metrics[0].scope_metrics[0].metrics]}\\n")
        return MetricExportResult.SUCCESS
"""


async def test_azure_monitor_gets_all_three_signals_through_its_exporter(tmp_path: Path) -> None:
    package = tmp_path / "azure" / "monitor" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "exporter.py").write_text(STUB)
    variables = {
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=secret-key",
        "PYTHONPATH": str(tmp_path),
    }
    async with running(*AGENT, environment=variables) as server:
        async with aiohttp.ClientSession(server.url) as client:
            async with client.post("/invocations", data="child") as response:
                assert response.status == 200
        server.terminate()
        assert await server.exit_code() == 0
    printed = "".join(server.output)
    assert "AzureMonitorTraceExporter ['in a task', 'thinking', 'invoke_agent']" in printed
    assert "AzureMonitorLogExporter" in printed
    assert "http.server.request.duration" in printed
    assert "secret-key" not in "".join(server.log)


async def test_azure_monitor_without_its_extra_is_one_warning_and_serving_goes_on() -> None:
    variables = {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=secret-key"}
    async with running(*AGENT, environment=variables) as server:
        async with aiohttp.ClientSession(server.url) as client:
            async with client.post("/invocations", data="plain") as response:
                assert response.status == 200
        server.terminate()
        assert await server.exit_code() == 0
    log = "".join(server.log)
    assert log.count("APPLICATIONINSIGHTS_CONNECTION_STRING is set, but") == 1
    assert "secret-key" not in log
