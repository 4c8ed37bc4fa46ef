"""The log of ``agentserver dev``: for a person who has just saved a file."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

from agentserver._telemetry.correlation import correlation, current_request
from agentserver.cli.target import is_foreign
from agentserver.cli.terminal.output import styled
from agentserver.wire import WS_CLOSE_CODE_FIELD, WS_ERROR_CODE_FIELD

__all__ = ["log_for_a_person", "own_traceback"]

_FRAMEWORK: Final = str(Path(__file__).parents[2]) + os.sep

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

_LEVEL_STYLES: Final = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}
_ACTIONS: Final = "agentserver.actions"
_LISTENS: Final = "listening on port "
_ENDS: Final = ("shutting down: ", "stopped")


def log_for_a_person(level: str, listens: Callable[[str], str]) -> None:
    """Set up the root logger.

    Args:
        level: The least level to show, such as ``INFO``.
        listens: What to say when the server listens, made of what the log says then.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(listens))
    handler.addFilter(_is_news)
    logging.basicConfig(level=level, handlers=[handler])
    if level == "INFO":
        logging.getLogger(_ACTIONS).setLevel(logging.DEBUG)  # each action, as each request


def _is_news(record: logging.LogRecord) -> bool:
    """Whether *record* is not of an orderly end, which a developer has asked for."""
    is_own = record.name == "agentserver" and record.levelno == logging.INFO
    return not (is_own and str(record.msg).startswith(_ENDS))


class _Formatter(logging.Formatter):
    """One line a record: the time, the message; of an exception the frames that the developer wrote."""

    def __init__(self, listens: Callable[[str], str]) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")
        self._listens = listens

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Render the line of *record*, with what a developer wants to know beside it."""
        if record.name == "agentserver" and record.message.startswith(_LISTENS):
            record.message = self._listens(record.message)
        elif hasattr(record, WS_CLOSE_CODE_FIELD):
            record.message = _closed(record)
        elif record.name == "agentserver.requests":
            record.message += _reason()
        elif record.name == _ACTIONS and record.levelno == logging.DEBUG:
            record.message += f"  {correlation().get('invocation_id', '')}"
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Render *record*, in the colour of its level."""
        text = super().format(record)
        style = _LEVEL_STYLES.get(record.levelno)
        return text if style is None else styled(text, style, sys.stderr)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        """Render an exception without the frames of the framework."""
        return "" if ei[1] is None else own_traceback(ei[1])


def _closed(record: logging.LogRecord) -> str:
    error = getattr(record, WS_ERROR_CODE_FIELD, None)
    return f"WebSocket closed with {getattr(record, WS_CLOSE_CODE_FIELD)}" + (f" ({error})" if error else "")


def _reason() -> str:
    """What the client was told in the answer that is being logged; nothing of one that went well."""
    request = current_request.get()
    failure = None if request is None else request.failure
    return "" if failure is None or not failure.expected else f": {failure.code}: {failure.message}"


def own_traceback(error: BaseException) -> str:
    """The traceback of *error* with the developer's own frames alone.

    With all, if none is theirs, unless the framework itself raised it: then its sentence says what is wrong.
    """
    report = traceback.TracebackException.from_exception(error)
    _keep_own(report, error)
    return "".join(report.format()).rstrip("\n")


def _keep_own(report: traceback.TracebackException, error: BaseException) -> None:
    own = [frame for frame in report.stack if not is_foreign(frame.filename)]
    is_said = not own and _is_sentence(report.stack)
    if own or is_said or isinstance(error, SyntaxError):  # which names its place itself
        report.stack = traceback.StackSummary.from_list(own)
    for linked, cause in ((report.__cause__, error.__cause__), (report.__context__, error.__context__)):
        if linked is not None and cause is not None:
            _keep_own(linked, cause)
    if is_said and report.__cause__ is not None and not report.__cause__.stack:
        report.__cause__ = None  # in the sentence already


def _is_sentence(stack: traceback.StackSummary) -> bool:
    """Whether the framework has raised, and nothing below it."""
    return (
        bool(stack)
        and stack[-1].filename.startswith(_FRAMEWORK)
        and (stack[-1].line or "").startswith("raise ")
    )
