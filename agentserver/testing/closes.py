"""The lines that the server logs when WebSockets end, as values (contract, section 5)."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentserver.testing.conditions import DEADLINE_SECONDS, until
from agentserver.wire import (
    WS_CLOSE_CODE_FIELD,
    WS_DURATION_FIELD,
    WS_ERROR_CODE_FIELD,
    WS_SESSION_ID_FIELD,
)

__all__ = ["CloseEvent", "CloseEvents", "capture_close_events"]

_logger = logging.getLogger("agentserver")


@dataclass(frozen=True)
class CloseEvent:
    """The end of one WebSocket connection, as the server reported it.

    Args:
        session_id: The session's id.
        close_code: The code that was really exchanged.
        duration_ms: How long the connection lasted, in milliseconds.
        error_code: ``internal_error``, ``accept_failed`` or ``cancelled``; None when all went well.
    """

    session_id: str
    close_code: int
    duration_ms: float
    error_code: str | None = None


class CloseEvents:
    """The close events so far, oldest first."""

    def __init__(self) -> None:
        self._events: list[CloseEvent] = []

    def __iter__(self) -> Iterator[CloseEvent]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, index: int) -> CloseEvent:
        return self._events[index]

    async def next(self, *, timeout: float = DEADLINE_SECONDS) -> CloseEvent:
        """The next event that nobody was given yet; waits for it.

        Raises:
            AssertionError: If none comes within *timeout* seconds.
        """
        await until(lambda: self._events, timeout=timeout, what="a close event")
        return self._events.pop(0)

    def add(self, event: CloseEvent) -> None:
        """Take *event*, the next."""
        self._events.append(event)


class _CloseEventHandler(logging.Handler):
    def __init__(self, events: CloseEvents) -> None:
        super().__init__(logging.INFO)
        self._captured = events

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = vars(record)
        if WS_CLOSE_CODE_FIELD in fields:
            self._captured.add(
                CloseEvent(
                    fields[WS_SESSION_ID_FIELD],
                    fields[WS_CLOSE_CODE_FIELD],
                    fields[WS_DURATION_FIELD],
                    fields.get(WS_ERROR_CODE_FIELD),
                )
            )


@contextmanager
def capture_close_events() -> Generator[CloseEvents, None, None]:
    """Collect what servers in this process report at the end of each WebSocket.

    .. code-block:: python

        with capture_close_events() as closes:
            async with in_process(MyHandler) as agent, agent.converse() as conversation:
                await conversation.close(4001, "enough")
            assert (await closes.next()).close_code == 4001

    Yields:
        The events, as they come.
    """
    events = CloseEvents()
    handler = _CloseEventHandler(events)
    level = _logger.level
    _logger.addHandler(handler)
    if not _logger.isEnabledFor(logging.INFO):
        _logger.setLevel(logging.INFO)
    try:
        yield events
    finally:
        _logger.setLevel(level)
        _logger.removeHandler(handler)
