"""While nothing is configured, telemetry costs nothing; Azure Monitor, with its extra and without."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

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
