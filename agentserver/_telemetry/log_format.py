"""How the process's log is written: readable lines, or one JSON object a line, with the request's ids."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Final, NamedTuple

from agentserver._telemetry.correlation import correlation, log_fields

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class RequestLine(NamedTuple):
    """What the log says of one request: no body, no query, no key (contract, section 2)."""

    created: float
    method: str
    path: str
    status: int
    seconds: float
    correlation: Mapping[str, str]
    request_id: str
    trace_id: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """What it is found by."""
        return log_fields(self.correlation, self.request_id, self.trace_id)

    @property
    def message(self) -> str:
        """The message of its record."""
        return f"{self.method[:20]} {self.path[:200]} {self.status} {self.seconds * 1000:.1f} ms"


class TextFormatter(logging.Formatter):
    """One readable line: time, level, logger, message, ids, and the record's extra fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self._second = (0, "")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Append the ids and the extra fields to the line."""
        fields = {**correlation(), **extra_fields(record)}
        line = super().formatMessage(record)
        return line + "".join(f" {name}={value}" for name, value in fields.items())

    def format_request(self, line: RequestLine) -> str:
        """The text of a request's line."""
        second = int(line.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second)))
        fields = "".join([f" {name}={value}" for name, value in line.fields.items()])
        return (
            f"{self._second[1]},{int((line.created - second) * 1000):03d} INFO    agentserver.requests: "
            f"{line.message}{fields}"
        )


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for a log pipeline."""

    def format(self, record: logging.LogRecord) -> str:
        """Render *record*, its ids, its extra fields and its exception."""
        fields: dict[str, object] = {
            "timestamp": _timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **correlation(),
            **extra_fields(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)

    def format_request(self, line: RequestLine) -> str:
        """The text of a request's line."""
        fields = {
            "timestamp": _timestamp(line.created),
            "level": "INFO",
            "logger": "agentserver.requests",
            "message": line.message,
            **line.fields,
        }
        return json.dumps(fields, ensure_ascii=False)


def _timestamp(created: float) -> str:
    return datetime.fromtimestamp(created, timezone.utc).isoformat()


def extra_fields(record: logging.LogRecord) -> dict[str, object]:
    """What a record was given as ``extra``."""
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
