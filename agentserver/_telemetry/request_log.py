"""The one line that the log has of each request, and the handler that writes such lines in batches."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Final, TextIO

from agentserver._telemetry.correlation import CurrentRequest
from agentserver._telemetry.log_format import JsonFormatter, RequestLine, TextFormatter

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # generic only from Python 3.11

MAX_WAITING: Final = 500  # lines
DELAY_SECONDS: Final = 0.05

_ROOT: Final = logging.getLogger()
logger = logging.getLogger("agentserver")
request_logger = logging.getLogger("agentserver.requests")


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
            asyncio.get_running_loop().call_later(DELAY_SECONDS, self.flush)
        elif len(waiting) >= MAX_WAITING:
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


_batching: BatchingHandler | None = None


def write_in_batches(handler: BatchingHandler) -> None:
    """Give *handler* the lines of requests, for as long as nobody else listens to them."""
    global _batching  # noqa: PLW0603 - the process has one standard error, and one root logger
    _batching = handler


def log_request(method: str, path: str, status: int, seconds: float, request: CurrentRequest) -> None:
    """Write the one line of a request.

    Args:
        method: As it was sent.
        path: Without a query, in ASCII.
        status: The HTTP status; 499 if its client left before there was one.
        seconds: How long it took.
        request: Says which ids it has.
    """
    if not request_logger.isEnabledFor(logging.INFO):
        return
    line = RequestLine(
        time.time(),
        method,
        path,
        status,
        seconds,
        request.correlation,
        request.request_id,
        request.current_trace_id(),
    )
    if _batching is not None and _batching.is_alone():
        _batching.note(line)
    else:
        request_logger.info("%s", line.message)
