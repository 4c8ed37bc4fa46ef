"""Keeps what is no HTTP out of a developer's terminal: who sent it is answered with 400, and that is all."""

from __future__ import annotations

import logging

from aiohttp.http import HttpProcessingError

__all__ = ["keep_quiet_of_malformed_requests"]


def keep_quiet_of_malformed_requests() -> None:
    """Have aiohttp's servers of this process, a tool's, print no traceback for such a request."""
    logging.getLogger("aiohttp.server").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
