"""What is kept of each exchange, and for how many: values, and a bounded collection of them."""

from __future__ import annotations

import base64
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, Final

from agentserver.inspector.http_messages import Head

__all__ = ["Content", "Exchange", "Exchanges", "Part", "shown"]

BODY_KEPT: Final = 256 * 1024
"""Bytes of a body."""
PART_KEPT: Final = 64 * 1024
"""Bytes of a frame or an event."""
PARTS_KEPT: Final = 20_000
"""Of one exchange."""
_PART_COST: Final = 300
_MAX_EXCHANGES: Final = 1000
_MAX_BYTES: Final = 32 * 1024 * 1024


@dataclass
class Content:
    """A body: its beginning, and the size of all of it."""

    kept: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, data: bytes) -> None:
        """Take a piece of it."""
        self.size += len(data)
        self.kept += data[: max(0, BODY_KEPT - len(self.kept))]

    @property
    def is_whole(self) -> bool:
        """Whether all of it is kept."""
        return self.size == len(self.kept)


@dataclass(frozen=True)
class Part:
    """Something that went one way at one time.

    Args:
        at: Monotonic seconds.
        sender: ``client`` or ``agent``.
        kind: ``head``, ``body``, ``event``, or the kind of a frame.
        size: Bytes.
        data: Of a frame or an event; the beginning of a large one.
        facts: What else is known: an event's type and id, a frame's flags, a close's code and reason.
    """

    at: float
    sender: str
    kind: str
    size: int
    data: bytes = b""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(eq=False)
class Exchange:
    """A request with its answer, or a WebSocket with its frames.

    Args:
        id: Its number.
        began: Monotonic seconds.
        request: Its head.
        by: ``page`` or ``client``.
        call: The number of the page's call that made it, 0 for another client's.

    Attributes:
        end: How it ended; empty while it goes on.
        closed: The WebSocket's close: by whom, code and reason.
    """

    id: int
    began: float
    request: Head
    by: str = "client"
    call: int = 0
    sent: Content = field(default_factory=Content)
    response: Head | None = None
    received: Content = field(default_factory=Content)
    parts: deque[Part] = field(default_factory=deque[Part])
    dropped: int = 0
    first_at: float | None = None
    ended: float | None = None
    end: str = ""
    closed: dict[str, Any] | None = None
    cost: int = 1000

    def add(self, part: Part) -> None:
        """Take note of *part*; the oldest goes when there are too many."""
        self.parts.append(part)
        self.cost += len(part.data) + _PART_COST
        while len(self.parts) > PARTS_KEPT or (self.cost > _MAX_BYTES // 2 and len(self.parts) > 1):
            oldest = self.parts.popleft()
            self.cost -= len(oldest.data) + _PART_COST
            self.dropped += 1

    @property
    def kind(self) -> str:
        """``websocket``, ``stream`` or ``http``."""
        if self.response is None:
            return "websocket" if self.request.get("upgrade").lower() == "websocket" else "http"
        if self.response.status == 101:
            return "websocket"
        return "stream" if self.response.get("content-type").startswith("text/event-stream") else "http"

    def summary(self, start: float) -> dict[str, Any]:
        """What a list shows of it; times in milliseconds since *start*."""
        return {
            "id": self.id,
            "at": _ms(self.began - start),
            "kind": self.kind,
            "by": self.by,
            "call": self.call,
            "method": self.request.start[0],
            "path": self.request.start[1],
            "status": None if self.response is None else self.response.status,
            "first": None if self.first_at is None else _ms(self.first_at - self.began),
            "duration": None if self.ended is None else _ms(self.ended - self.began),
            "sent": self.sent.size,
            "received": self.received.size,
            "parts": self.dropped + len(self.parts),
            "end": self.end,
            "closed": self.closed,
        }

    def detail(self, start: float, first: int, limit: int) -> dict[str, Any]:
        """All of it, with at most *limit* parts from the number *first* on."""
        skip = max(0, first - self.dropped)
        parts = [self.parts[index] for index in range(skip, min(len(self.parts), skip + limit))]
        return {
            **self.summary(start),
            "request": {"headers": self.request.headers, "body": shown(self.sent)},
            "response": None
            if self.response is None
            else {
                "reason": self.response.start[2],
                "headers": self.response.headers,
                "body": shown(self.received),
            },
            "dropped": self.dropped,
            "from": self.dropped + skip,
            "next": self.dropped + skip + len(parts),
            "list": [self._shown_part(part) for part in parts],
        }

    def _shown_part(self, part: Part) -> dict[str, Any]:
        return {
            "at": _ms(part.at - self.began),
            "sender": part.sender,
            "kind": part.kind,
            "size": part.size,
            **text_or_base64(part.data),
            **part.facts,
        }


class Exchanges:
    """The newest exchanges: a thousand at most, and 32 MB of what they carried."""

    def __init__(self) -> None:
        self._all: OrderedDict[int, Exchange] = OrderedDict()
        self._last = 0
        self.dropped = 0

    def open(self, began: float, request: Head, by: str, call: int) -> Exchange:
        """Begin one."""
        self._last += 1
        exchange = self._all[self._last] = Exchange(self._last, began, request, by, call)
        return exchange

    def get(self, number: int) -> Exchange | None:
        """The exchange of that number, if it is kept."""
        return self._all.get(number)

    def all(self) -> list[Exchange]:
        """Those that are kept, the oldest first."""
        return list(self._all.values())

    def clear(self) -> None:
        """Forget those that have ended."""
        for exchange in self.all():
            if exchange.end:
                del self._all[exchange.id]

    def trim(self) -> None:
        """Forget the oldest when there are too many, or they are too large."""
        while len(self._all) > _MAX_EXCHANGES:
            self._forget_oldest()
        total = sum(each.cost + len(each.sent.kept) + len(each.received.kept) for each in self._all.values())
        while total > _MAX_BYTES and len(self._all) > 1:
            oldest = self._forget_oldest()
            total -= oldest.cost + len(oldest.sent.kept) + len(oldest.received.kept)

    def _forget_oldest(self) -> Exchange:
        self.dropped += 1
        return self._all.popitem(last=False)[1]


def shown(content: Content) -> dict[str, Any]:
    """A body as JSON shows it."""
    return {"size": content.size, "whole": content.is_whole, **text_or_base64(bytes(content.kept))}


def text_or_base64(data: bytes) -> dict[str, str]:
    """*data* as text, if it is UTF-8, and else as Base64."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError as error:
        if (
            error.start >= len(data) - 3 and error.reason == "unexpected end of data"
        ):  # cut within a character
            return {"text": data[: error.start].decode()}
        return {"base64": base64.b64encode(data).decode()}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
