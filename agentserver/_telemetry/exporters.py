"""The exporters: OTLP over the protocol in use, and Azure Monitor. Each is imported only when it is used."""

from __future__ import annotations

import logging
import threading
from importlib import import_module
from typing import Any, Final

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import SpanExporter

from agentserver._telemetry.settings import GRPC, HTTP, SignalExport

_PACKAGES: Final = {
    GRPC: "opentelemetry.exporter.otlp.proto.grpc",
    HTTP: "opentelemetry.exporter.otlp.proto.http",
}
_SPANS: Final = {
    GRPC: "agentserver._telemetry.otlp_grpc",
    HTTP: "agentserver._telemetry.otlp_http",
}
AZURE_EXPORTER: Final = "azure.monitor.opentelemetry.exporter"

_TALKATIVE: Final = (
    "opentelemetry.exporter.",
    "opentelemetry.sdk._shared_internal",
    "azure.monitor.opentelemetry.",
)
_AZURE_TALKATIVE: Final = (
    "azure.core.pipeline.policies.http_logging_policy",
    "azure.monitor.opentelemetry.exporter",
)


class Seldom(logging.Filter):
    """Lets one record of a logger through, and then none for a while: a dead collector is news once.

    For that while the logger is off, so that a span which finds the queue full does not pay for a record.

    Args:
        seconds: How long none.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        super().__init__()
        self._seconds = seconds
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* is let through."""
        if record.created < self._quiet_until:
            return False
        self._quiet_until = record.created + self._seconds
        talker = logging.getLogger(record.name)
        restore = threading.Timer(self._seconds, talker.setLevel, (talker.level,))
        restore.daemon = True
        restore.start()
        talker.setLevel(logging.CRITICAL + 1)
        return True


def calm_exporters() -> None:
    """Have the exporters that are loaded speak seldom: they report each try of each batch."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(_TALKATIVE):
            known = logging.getLogger(name)
            if not any(isinstance(present, Seldom) for present in known.filters):
                known.addFilter(Seldom())


def span_exporters(target: SignalExport | None, azure: str) -> list[SpanExporter]:
    """What sends spans off; *azure* is a connection string or empty."""
    exporters: list[Any] = []
    if target is not None:
        exporters.append(import_module(_SPANS[target.protocol]).SpanExporter(endpoint=target.endpoint))
    if azure:
        exporters.append(_azure("AzureMonitorTraceExporter", azure))
    return exporters


def metric_exporters(target: SignalExport | None, azure: str) -> list[MetricExporter]:
    """What sends metrics off."""
    exporters: list[Any] = []
    if target is not None:
        exporters.append(_otlp(target, "metric_exporter", "OTLPMetricExporter"))
    if azure:
        exporters.append(_azure("AzureMonitorMetricExporter", azure))
    return exporters


def log_exports(target: SignalExport | None, azure: str) -> list[LogRecordProcessor]:
    """What sends log records off, in batches."""
    exporters: list[Any] = []
    if target is not None:
        exporters.append(_otlp(target, "_log_exporter", "OTLPLogExporter"))
    if azure:
        exporters.append(_azure("AzureMonitorLogExporter", azure))
    return [BatchLogRecordProcessor(exporter) for exporter in exporters]


def _otlp(target: SignalExport, module: str, name: str) -> Any:
    # Headers, time-outs, compression, certificates: the exporter reads them from OTEL_EXPORTER_OTLP_*.
    return getattr(import_module(f"{_PACKAGES[target.protocol]}.{module}"), name)(endpoint=target.endpoint)


def _azure(name: str, connection_string: str) -> Any:
    for talker in map(logging.getLogger, _AZURE_TALKATIVE):
        if talker.level == logging.NOTSET:
            talker.setLevel(logging.WARNING)  # they tell of every request of theirs, header by header
    return getattr(import_module(AZURE_EXPORTER), name)(connection_string=connection_string)
