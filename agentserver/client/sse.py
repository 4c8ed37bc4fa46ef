"""Server-sent events, read from chunks of bytes. Pure; the grammar is the HTML standard's, section 9.2."""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import Any, Final

from agentserver.client.errors import AnswerError

__all__ = ["MAX_EVENT_SIZE", "EventParser", "StreamEvent"]

MAX_EVENT_SIZE: Final = 64 * 1024 * 1024
"""The most characters of one event, unless told otherwise."""

_MAX_RETRY_DIGITS: Final = 18  # far beyond any wait; Python refuses to read numbers of thousands of digits


@dataclass(frozen=True)
class StreamEvent:
    """One event of a ``text/event-stream``.

    Args:
        data: The data lines, joined by line feeds.
        event: The event's type, ``message`` when the server named none.
        id: The last id the server gave, empty when it gave none.
        retry: Milliseconds the server asks to wait before a reconnect, when this event said so.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: int | None = None

    def json(self) -> Any:
        """The data, read as JSON.

        Raises:
            AnswerError: If it is not JSON.
        """
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError) as error:
            raise AnswerError(f"the event's data is not JSON: {error}") from None


class EventParser:
    """Turns chunks, cut anywhere, into events. Comments, keep-alives among them, vanish.

    The pieces of a line are kept apart until its end, so that the time is in proportion to the stream.

    Args:
        limit: The most characters of one event, 0 for no limit: a line or an event without end must not fill
            the memory.
    """

    def __init__(self, *, limit: int = MAX_EVENT_SIZE) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._limit = limit
        self._line: list[str] = []
        self._line_size = 0
        self._after_cr = False
        self._data: list[str] = []
        self._data_size = 0
        self._event = ""
        self._id = ""
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """Take *chunk* and return the events that it completed.

        An event without its closing blank line is not one: the standard drops it, for its rest is missing.

        Raises:
            AnswerError: If an event is larger than the limit.
        """
        first, *others = self._line_feeds(self._decoder.decode(chunk)).split("\n")
        self._continue_line(first)
        events: list[StreamEvent] = []
        for rest in others:
            if (event := self._end_line()) is not None:
                events.append(event)
            self._continue_line(rest)
        return events

    def _line_feeds(self, text: str) -> str:
        """Make every line end a line feed, CR LF cut in two by the chunks included."""
        if self._after_cr and text:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r") or (self._after_cr and not text)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _continue_line(self, piece: str) -> None:
        if not piece:
            return
        self._line.append(piece)
        self._line_size += len(piece)
        if self._limit and self._line_size + self._data_size > self._limit:
            raise AnswerError(f"an event is longer than {self._limit} characters")

    def _end_line(self) -> StreamEvent | None:
        """Take the line as it is; return the event, if that was its end."""
        if not self._line:
            return self._dispatch()
        self._field("".join(self._line))
        self._line.clear()
        self._line_size = 0
        return None

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_size += len(value) + 1
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self._retry = int(value)

    def _dispatch(self) -> StreamEvent | None:
        data, event, retry = self._data, self._event, self._retry
        self._data, self._data_size, self._event, self._retry = [], 0, "", None
        if not data:
            return None
        return StreamEvent("\n".join(data), event or "message", self._id, retry)
