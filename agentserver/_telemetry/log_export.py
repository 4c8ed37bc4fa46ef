"""Log records on their way to a collector: with the request's ids, and baggage as attributes."""

from __future__ import annotations

import logging
from typing import Final

from opentelemetry import baggage
from opentelemetry.context import get_current

from agentserver._telemetry.attributes import Attributes, exception_attributes, safe_text
from agentserver._telemetry.correlation import correlation
from agentserver._telemetry.log_format import extra_fields
from agentserver._telemetry.opentelemetry_internals import LoggerProvider, LogRecord, SeverityNumber

# Exporting what the exporters say would feed itself.
_NOT_EXPORTED: Final = ("opentelemetry", "urllib3", "grpc", "azure.core", "azure.monitor")
# The line of each request stays on the console: its span and the duration metric say the same.
_REQUESTS: Final = "agentserver.requests"
_SEVERITIES: Final = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
    (logging.NOTSET, SeverityNumber.TRACE, "TRACE"),
)

_INTEGERS: Final = (-(1 << 63), (1 << 63) - 1)


class ExportHandler(logging.Handler):
    """Hands each record of the process to *provider*, except the lines of requests, while any host runs."""

    ignores_requests = True

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider
        self._hosts = 0
        self.addFilter(_is_exported)

    def begin(self) -> None:
        """A host begins: with the first, records are handed on."""
        self._hosts += 1
        logging.getLogger().addHandler(self)  # once, however often it is asked for

    def end(self) -> None:
        """A host ends: with the last, no more are."""
        self._hosts -= 1
        if not self._hosts:
            logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Hand *record* on; whatever goes wrong is logging's own to report."""
        try:
            number, text = next((n, t) for level, n, t in _SEVERITIES if record.levelno >= level)
            self._provider.get_logger(record.name).emit(
                LogRecord(
                    timestamp=int(record.created * 1e9),
                    context=get_current(),
                    severity_number=number,
                    severity_text=text,
                    body=safe_text(record.getMessage()),
                    attributes=_attributes(record),
                )
            )
        # logging's own way: a record that cannot be written must not raise where it was made.
        except Exception:  # noqa: BLE001
            self.handleError(record)


def _is_exported(record: logging.LogRecord) -> bool:
    name = record.name
    if name == _REQUESTS:
        return False
    return not any(name == quiet or name.startswith(quiet + ".") for quiet in _NOT_EXPORTED)


def _attributes(record: logging.LogRecord) -> Attributes:
    attributes: Attributes = {safe_text(key): safe_text(value) for key, value in baggage.get_all().items()}
    attributes.update(correlation())
    for name, value in extra_fields(record).items():
        attributes[safe_text(name)] = _exportable(value)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        attributes.update(exception_attributes(error))
    return attributes


def _exportable(value: object) -> str | bool | int | float:
    """*value* as OTLP can carry it: whole numbers have 64 bits there, and the unknown becomes its text."""
    if isinstance(value, (bool, float)) or (isinstance(value, int) and _INTEGERS[0] <= value <= _INTEGERS[1]):
        return value
    return safe_text(value)
