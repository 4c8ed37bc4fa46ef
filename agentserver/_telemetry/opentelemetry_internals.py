"""The one place for names of OpenTelemetry that begin with an underscore.

Three kinds of them are needed:

- The packages for log records: ``opentelemetry._logs``, ``opentelemetry.sdk._logs`` and the exporters'
  ``_log_exporter``. They are documented and public; OpenTelemetry spells them with an underscore because
  their interface may still change in a minor release, as it last did in 1.39, which is why that is the lowest
  version. When one of them moves, the import fails: one warning names what is missing, nothing is exported,
  and requests are served.
- ``SpanProcessor._on_ending``, an experimental call of newer SDKs, made before ``on_end``. A processor that
  stands before somebody else's has to pass it on. When it is renamed, processors that a user adds no longer
  get this one call; they get all others.
- The names of the SDK's loggers, which are those of the modules that report what happens to each batch
  (``_shared_internal``, ``metrics._internal.export``). When one of them moves, a collector that is down is
  reported at every attempt again, in place of once a minute.

``tests/test_borders.py`` forbids such names everywhere else.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger_provider, set_logger_provider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import Span, SpanProcessor

__all__ = [
    "EXPORT_LOGGERS",
    "BatchLogRecordProcessor",
    "EndingProcessor",
    "LogRecord",
    "LogRecordProcessor",
    "LoggerProvider",
    "SeverityNumber",
    "get_logger_provider",
    "log_exporter",
    "notify_ending",
    "set_logger_provider",
]


# What the names of the loggers begin with that report every attempt at every batch.
EXPORT_LOGGERS: Final = (
    "opentelemetry.exporter.",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.metrics._internal.export",
)


def log_exporter(package: str) -> Any:
    """The class of *package*, such as ``opentelemetry.exporter.otlp.proto.http``, that sends log records."""
    return import_module(f"{package}._log_exporter").OTLPLogExporter


class EndingProcessor(SpanProcessor):
    """A span processor that is told of a span that is ending, before it has ended."""

    def on_ending(self, span: Span) -> None:
        """*span* is ending."""

    def _on_ending(self, span: Span) -> None:
        self.on_ending(span)


def notify_ending(processor: SpanProcessor, span: Span) -> None:
    """Tell *processor* that *span* is ending, if it listens to that."""
    listen = getattr(processor, "_on_ending", None)  # a processor need not inherit from the SDK's
    if listen is not None:
        listen(span)
