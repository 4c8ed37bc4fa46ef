"""Makes exchanges of the copied bytes of connections."""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from agentserver.client.errors import AnswerError
from agentserver.client.sse import EventParser
from agentserver.inspector.exchanges import PART_KEPT, Exchange, Exchanges, Part
from agentserver.inspector.http_messages import Body, Head, MessageReader
from agentserver.inspector.records import Kind, Record
from agentserver.inspector.websocket_frames import Frame, FrameReader

__all__ = ["HIDDEN", "Recording"]

_EVENT_LIMIT: Final = 1024 * 1024
_REQUEST: Final = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
HIDDEN: Final = "hidden"
"""By whom an exchange is that nobody needs to see: the inspector asked for itself."""


class Recording:
    """Takes the records of one life of the agent.

    Args:
        exchanges: Where exchanges are kept.
        maker_of: Says by the client's port who made a connection: ``page``, ``hidden`` or ``client``, and the
            number of the page's call.
        changed: Told of each exchange that something has happened to.
    """

    def __init__(
        self,
        exchanges: Exchanges,
        maker_of: Callable[[int], tuple[str, int]],
        changed: Callable[[Exchange], object],
    ) -> None:
        self._exchanges = exchanges
        self._maker_of = maker_of
        self._changed = changed
        self._connections: dict[int, _Connection] = {}

    def take(self, record: Record) -> None:
        """Take note of *record*, which is about a connection."""
        if record.kind is Kind.OPENED:
            port: int = record.json()["port"]
            maker, call = self._maker_of(port)
            if maker != HIDDEN:
                self._connections[record.connection] = _Connection(
                    self._exchanges, maker, call, self._changed
                )
            return
        connection = self._connections.get(record.connection)
        if connection is None:
            return
        if record.kind is Kind.RECEIVED:
            connection.received(record.at, record.data)
        elif record.kind is Kind.SENT:
            connection.sent(record.at, record.data)
        elif record.kind is Kind.GAP:
            connection.stop(record.at, "not recorded to its end: the agent was faster than the inspector")
        elif record.kind is Kind.CLOSED:
            connection.close(record.at)
            del self._connections[record.connection]

    def end(self, at: float) -> None:
        """The agent's process has ended, and all that was open with it."""
        for connection in self._connections.values():
            connection.stop(at, "the agent's process ended")
        self._connections.clear()


class _Connection:
    """One connection: its requests, each with its answer, then perhaps a WebSocket's frames."""

    def __init__(
        self, exchanges: Exchanges, maker: str, call: int, changed: Callable[[Exchange], object]
    ) -> None:
        self._exchanges = exchanges
        self._maker = maker
        self._call = call
        self._changed = changed
        self._read_anew()
        self._unanswered: deque[Exchange] = deque()  # pipelined requests too
        self._current: Exchange | None = None  # whose request comes in
        self._events: EventParser | None = None
        self._frames: dict[str, FrameReader] = {}

    def _read_anew(self) -> None:
        self._requests = MessageReader(is_response=False)
        self._responses = MessageReader(is_response=True)
        self._is_stopped = False

    def received(self, at: float, data: bytes) -> None:
        if self._is_stopped and not self._frames and _REQUEST.match(data):
            self._read_anew()  # what is missing lies behind: nobody asks before the answer is there
        if self._is_stopped:
            return
        if self._frames:
            self._take_frames(at, "client", data)
            return
        for part in self._requests.feed(data):
            if isinstance(part, Head):
                self._begin(at, part)
            elif isinstance(part, Body) and self._current is not None:
                self._current.sent.add(part.data)
                self._note(self._current, Part(at, "client", "body", len(part.data)))

    def sent(self, at: float, data: bytes) -> None:
        if self._is_stopped:
            return
        if self._frames:
            self._take_frames(at, "agent", data)
            return
        answered = self._unanswered[0] if self._unanswered else None
        self._responses.no_body = answered is not None and answered.request.start[0] == "HEAD"
        for part in self._responses.feed(data):
            exchange = self._unanswered[0] if self._unanswered else None
            if isinstance(part, Head):
                if exchange is None:  # an answer to what is no request
                    exchange = self._begin(at, Head(("?", "(not readable as HTTP)", "")))
                self._answer(at, exchange, part)
            elif exchange is None:
                continue
            elif isinstance(part, Body):
                self._take_body(at, exchange, part.data)
            else:
                self._unanswered.popleft()
                self._finish(at, exchange, "complete")

    def close(self, at: float) -> None:
        """The connection is gone."""
        if self._responses.finish() and self._unanswered:
            self._finish(at, self._unanswered.popleft(), "complete")
        for exchange in self._unanswered:
            if exchange.kind == "websocket" and exchange.closed is not None:
                self._finish(at, exchange, "closed")
            elif exchange.kind == "websocket" and exchange.response is not None:
                exchange.closed = {"by": "nobody", "code": 1006, "reason": "the connection broke"}
                self._finish(at, exchange, "broken")
            else:
                self._finish(at, exchange, "broken off before its end")
        self._unanswered.clear()

    def stop(self, at: float, why: str) -> None:
        """Nothing more can be recorded."""
        self._is_stopped = True
        for exchange in self._unanswered:
            self._finish(at, exchange, why)
        self._unanswered.clear()

    def _begin(self, at: float, head: Head) -> Exchange:
        exchange = self._exchanges.open(at, head, self._maker, self._call)
        self._current = exchange
        self._unanswered.append(exchange)
        self._note(exchange, Part(at, "client", "head", len(head.raw)))
        return exchange

    def _answer(self, at: float, exchange: Exchange, head: Head) -> None:
        self._note(exchange, Part(at, "agent", "head", len(head.raw), facts={"status": head.status}))
        if head.status < 200 and head.status != 101:
            return
        exchange.response = head
        exchange.first_at = at
        self._events = EventParser(limit=_EVENT_LIMIT) if exchange.kind == "stream" else None
        if head.status == 101:
            agreed = head.get("sec-websocket-extensions")
            for sender, name in (
                ("client", "client_no_context_takeover"),
                ("agent", "server_no_context_takeover"),
            ):
                self._frames[sender] = FrameReader(keeps_context=name not in agreed)
            self._take_frames(at, "client", self._requests.rest)
            self._take_frames(at, "agent", self._responses.rest)

    def _take_body(self, at: float, exchange: Exchange, data: bytes) -> None:
        exchange.received.add(data)
        self._note(exchange, Part(at, "agent", "body", len(data)))
        if self._events is None:
            return
        try:
            events = self._events.feed(data)
        except AnswerError:  # larger than is shown
            self._events = None
            return
        for event in events:
            text = event.data.encode("utf-8", "replace")
            facts = {"event": event.event[:200], "event_id": event.id[:200]}
            self._note(exchange, Part(at, "agent", "event", len(text), text[:PART_KEPT], facts))

    def _take_frames(self, at: float, sender: str, data: bytes) -> None:
        if not self._unanswered:
            return
        exchange = self._unanswered[0]
        for frame in self._frames[sender].feed(data):
            facts: dict[str, Any] = {}
            if not frame.is_final:
                facts["more"] = True
            if frame.is_compressed:
                facts["compressed"] = True
            if frame.kind == "close":
                facts.update(_close_of(frame))
                if exchange.closed is None:
                    exchange.closed = {"by": sender, **facts}
            content = exchange.sent if sender == "client" else exchange.received
            content.size += frame.size
            self._note(exchange, Part(at, sender, frame.kind, frame.size, frame.data[:PART_KEPT], facts))

    def _note(self, exchange: Exchange, part: Part) -> None:
        exchange.add(part)
        self._changed(exchange)

    def _finish(self, at: float, exchange: Exchange, how: str) -> None:
        exchange.ended = at
        exchange.end = how
        self._changed(exchange)


def _close_of(frame: Frame) -> dict[str, Any]:
    if len(frame.data) < 2:
        return {"code": 1005, "reason": ""}
    reason = ""
    with suppress(UnicodeDecodeError):
        reason = frame.data[2:].decode()
    return {"code": struct.unpack(">H", frame.data[:2])[0], "reason": reason}
