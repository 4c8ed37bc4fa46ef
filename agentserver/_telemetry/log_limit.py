"""Logging that cannot drown the log: a failure that every request repeats is told once a minute."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

QUIET_SECONDS: Final = 60.0
_MAX_REMEMBERED: Final = 1000


class ErrorLog:
    """Logs an error with its traceback, and the same sentence not again for a while.

    Args:
        logger: Where to.
        quiet_seconds: How long a sentence is not repeated.
    """

    def __init__(self, logger: logging.Logger, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._logger = logger
        self._quiet_seconds = quiet_seconds
        self._told_at: dict[str, float] = {}

    def report(self, sentence: str, error: BaseException) -> None:
        """Log *sentence* and the traceback of *error*."""
        now = time.monotonic()
        told_at = self._told_at.get(sentence)
        if told_at is not None and now - told_at < self._quiet_seconds:
            return
        if len(self._told_at) >= _MAX_REMEMBERED:
            self._told_at.clear()
        self._told_at[sentence] = now
        self._logger.error(sentence, exc_info=error)


class OncePerInterval(logging.Filter):
    """Lets one record of a logger through and then turns the logger off for a while.

    Exporters report every attempt at every batch, and the SDK reports every span that finds the queue full.
    With the logger off, such a span does not pay for a record that would be dropped. An exception is told of
    in the record's one line: its traceback would show the insides of an exporter, and nothing of the agent.

    Args:
        seconds: How long the logger is off.
    """

    def __init__(self, seconds: float = QUIET_SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* is let through."""
        if record.created < self._quiet_until:
            return False
        self._quiet_until = record.created + self._seconds
        logger = logging.getLogger(record.name)
        restore = threading.Timer(self._seconds, logger.setLevel, (logger.level,))
        restore.daemon = True
        restore.start()
        logger.setLevel(logging.CRITICAL + 1)
        _shorten(record)
        return True


def _shorten(record: logging.LogRecord) -> None:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        record.msg, record.args = f"{record.getMessage()}: {type(error).__name__}: {error}", ()
        record.exc_info = record.exc_text = None
