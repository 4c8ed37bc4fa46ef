"""The process's log: readable lines or one JSON object a line, on standard error, with the exchange's ids."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

from aiohttp import web

from agentserver._http.exchange import Exchange, current_exchange
from agentserver._telemetry.observer import OPENTELEMETRY
from agentserver.environment import FoundryEnvironment

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # generic only from Python 3.11

logger = logging.getLogger("agentserver")
request_logger = logging.getLogger("agentserver.requests")

_ROOT: Final = logging.getLogger()
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_BATCH: Final = 500  # lines
_DELAY: Final = 0.05  # seconds


def correlation() -> dict[str, str]:
    """The ids of the exchange that the running task serves; empty outside one."""
    exchange = current_exchange.get()
    if exchange is None:
        return {}
    ids = {**exchange.correlation, "request_id": exchange.request_id}
    trace_id = _trace_id(exchange)
    if trace_id:
        ids["trace_id"] = trace_id
    return ids


def _trace_id(exchange: Exchange) -> str:
    """The trace that a record belongs to: the active span's, else the caller's; empty without either."""
    if exchange.trace_id:
        return exchange.trace_id
    trace: Any = sys.modules.get(OPENTELEMETRY)
    if trace is not None:
        active = trace.get_current_span().get_span_context()
        if active.is_valid:
            return str(trace.format_trace_id(active.trace_id))
    return "" if exchange.parent is None else exchange.parent.trace_id


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
    def ids(self) -> dict[str, str]:
        """What it is found by."""
        ids = {**self.correlation, "request_id": self.request_id}
        if self.trace_id:
            ids["trace_id"] = self.trace_id
        return ids

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
        fields = "".join([f" {name}={value}" for name, value in line.ids.items()])
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
            **line.ids,
        }
        return json.dumps(fields, ensure_ascii=False)


def _timestamp(created: float) -> str:
    return datetime.fromtimestamp(created, timezone.utc).isoformat()


def extra_fields(record: logging.LogRecord) -> dict[str, object]:
    """What a record was given as ``extra``."""
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


class BatchingHandler(_StreamHandler):
    """Writes records at once, and the lines of requests in batches, off the requests' path.

    A batch is written after 50 ms, at 500 lines, before any record, and at the end of the process, so the
    order of lines is that of their events and a clean exit loses none.
    """

    def __init__(self, formatter: TextFormatter | JsonFormatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)
        self._format_request = formatter.format_request
        self._waiting: deque[RequestLine] = deque()
        self._company: list[logging.Handler] = [self]  # the root's handlers when it was alone

    def is_alone(self) -> bool:
        """Whether nobody else listens to, filters or changes what is logged of requests."""
        if _ROOT.handlers != self._company:
            if not _ROOT.handlers:
                return False
            first, *others = _ROOT.handlers
            if first is not self or not all(map(_ignores_requests, others)):
                return False
            self._company = [first, *others]
        return (
            not (request_logger.handlers or request_logger.filters or self.filters)
            and not logger.handlers
            and request_logger.propagate
            and logger.propagate
        )

    def note(self, line: RequestLine) -> None:
        """Take *line* for the next batch; called in a running loop."""
        waiting = self._waiting
        waiting.append(line)
        if len(waiting) == 1:
            asyncio.get_running_loop().call_later(_DELAY, self.flush)
        elif len(waiting) >= _BATCH:
            self.flush()

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*, after what came before it."""
        self._write_waiting()
        super().emit(record)

    def flush(self) -> None:
        """Write what is waiting."""
        self._write_waiting()
        super().flush()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        self.acquire()
        try:
            lines: list[str] = []
            while self._waiting:
                lines.append(self._format_request(self._waiting.popleft()))
            if lines:
                self.stream.write("\n".join(lines) + self.terminator)
        # As logging does: a log that cannot be written must not end what it tells of.
        except Exception:  # noqa: BLE001
            self.handleError(logging.makeLogRecord({"msg": "request lines could not be written"}))
        finally:
            self.release()


def _ignores_requests(handler: logging.Handler) -> bool:
    return getattr(handler, "ignores_requests", False) is True


_handler: BatchingHandler | None = None


def log_request(request: web.BaseRequest, exchange: Exchange, status: int) -> None:
    """Write the one line of a request."""
    if not request_logger.isEnabledFor(logging.INFO):
        return
    path = request._message.path
    if "?" in path or "#" in path or path[:1] != "/":
        path = request.rel_url.raw_path
    if not path.isascii():  # aiohttp's parser in Python, which PyPy has, lets such bytes through
        path = ascii(path)[1:-1]
    line = RequestLine(
        time.time(),
        request._method,
        path,
        status,
        exchange.elapsed,
        exchange.correlation,
        exchange.request_id,
        _trace_id(exchange),
    )
    if _handler is not None and _handler.is_alone():
        _handler.note(line)
    else:
        request_logger.info("%s", line.message)


def configure_logging(environment: FoundryEnvironment) -> None:
    """Set up the root logger as the environment says, unless the user has set it up already."""
    global _handler  # noqa: PLW0603 - the process has one standard error, and one root logger
    if _ROOT.handlers:
        return
    _handler = BatchingHandler(JsonFormatter() if environment.log_format == "json" else TextFormatter())
    _ROOT.addHandler(_handler)
    _ROOT.setLevel(environment.log_level)
