"""The process's log: readable lines or one JSON object a line, on standard error, with the exchange's ids."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Final

from agentserver.core._pipeline import current_exchange
from agentserver.core.environment import FoundryEnvironment

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def correlation() -> dict[str, str]:
    """The ids of the exchange that the running task serves; empty outside one."""
    exchange = current_exchange.get()
    if exchange is None:
        return {}
    return {**exchange.correlation, "request_id": exchange.request_id}


class TextFormatter(logging.Formatter):
    """One readable line: time, level, logger, message, ids, and the record's extra fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Append the ids and the extra fields to the line."""
        fields = {**correlation(), **_extra(record)}
        line = super().formatMessage(record)
        return line + "".join(f" {name}={value}" for name, value in fields.items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for a log pipeline."""

    def format(self, record: logging.LogRecord) -> str:
        """Render *record*, its ids, its extra fields and its exception."""
        fields: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **correlation(),
            **_extra(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str, ensure_ascii=False)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def configure_logging(environment: FoundryEnvironment) -> None:
    """Set up the root logger as the environment says, unless the user has set it up already."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if environment.log_format == "json" else TextFormatter())
    root.addHandler(handler)
    root.setLevel(environment.log_level)
