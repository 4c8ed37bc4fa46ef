"""The exporters: OTLP over the protocol in use, and Azure Monitor. Each is imported only when it is used."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import SpanExporter

from agentserver._telemetry.log_limit import OncePerInterval
from agentserver._telemetry.opentelemetry_internals import (
    EXPORT_LOGGERS,
    BatchLogRecordProcessor,
    LogRecordProcessor,
    log_exporter,
)
from agentserver._telemetry.settings import GRPC, HTTP, SignalExport

_PACKAGES: Final = {
    GRPC: "opentelemetry.exporter.otlp.proto.grpc",
    HTTP: "opentelemetry.exporter.otlp.proto.http",
}
AZURE_EXPORTER: Final = "azure.monitor.opentelemetry.exporter"

# Milliseconds, as the SDK has them for spans. Its second for logs would wake an idle server as often.
_LOG_DELAY: Final = ("OTEL_BLRP_SCHEDULE_DELAY", 5000.0)

# Loggers that report every attempt at every batch.
_REPEATING: Final = (*EXPORT_LOGGERS, "azure.monitor.opentelemetry.")
# Loggers that describe every request of the Azure exporter, header by header, at INFO.
_VERBOSE: Final = (
    "azure.core.pipeline.policies.http_logging_policy",
    "azure.monitor.opentelemetry.exporter",
)


def limit_exporter_logging() -> None:
    """Have each logger of the loaded exporters say one thing a minute: a dead collector is news once."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(_REPEATING):
            logger = logging.getLogger(name)
            if not any(isinstance(present, OncePerInterval) for present in logger.filters):
                logger.addFilter(OncePerInterval())


def span_exporters(target: SignalExport | None, azure: str) -> list[SpanExporter]:
    """What sends spans off; *azure* is a connection string or empty."""
    exporters: list[Any] = []
    if target is not None:
        module = import_module(f"{_PACKAGES[target.protocol]}.trace_exporter")
        exporters.append(_otlp(module.OTLPSpanExporter, target))
    if azure:
        exporters.append(_azure("AzureMonitorTraceExporter", azure))
    return exporters


def metric_exporters(target: SignalExport | None, azure: str) -> list[MetricExporter]:
    """What sends metrics off."""
    exporters: list[Any] = []
    if target is not None:
        module = import_module(f"{_PACKAGES[target.protocol]}.metric_exporter")
        exporters.append(_otlp(module.OTLPMetricExporter, target))
    if azure:
        exporters.append(_azure("AzureMonitorMetricExporter", azure))
    return exporters


def log_processors(target: SignalExport | None, azure: str) -> list[LogRecordProcessor]:
    """What sends log records off, in batches."""
    exporters: list[Any] = []
    if target is not None:
        exporters.append(_otlp(log_exporter(_PACKAGES[target.protocol]), target))
    if azure:
        exporters.append(_azure("AzureMonitorLogExporter", azure))
    variable, milliseconds = _LOG_DELAY
    delay = None if os.environ.get(variable) else milliseconds  # None: as the variable says
    return [BatchLogRecordProcessor(exporter, schedule_delay_millis=delay) for exporter in exporters]


def _otlp(kind: Any, target: SignalExport) -> Any:
    # Headers, time-outs, compression, certificates, temporality: it reads them from OTEL_EXPORTER_OTLP_*.
    return kind(endpoint=target.endpoint)


def _azure(name: str, connection_string: str) -> Any:
    for logger in map(logging.getLogger, _VERBOSE):
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    return getattr(import_module(AZURE_EXPORTER), name)(connection_string=connection_string)
