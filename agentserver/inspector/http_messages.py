"""HTTP/1.1 messages out of a direction of a connection's bytes, as they come. Pure.

For showing, not for serving: whatever can be understood is, and the rest is left to the server's judgement.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = ["Body", "End", "Head", "MessageReader"]

_HEAD_LIMIT: Final = 1024 * 1024
_LINE_LIMIT: Final = 64 * 1024


@dataclass(frozen=True)
class Head:
    """A start line and its headers, as they stood on the wire.

    Args:
        start: The three parts of the start line.
        headers: Names and values, in their order.
        raw: The bytes, the empty line included.
    """

    start: tuple[str, str, str]
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    raw: bytes = b""

    def get(self, name: str) -> str:
        """The first value of the header *name*, in lower case; empty without one."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start[1]) if self.start[1].isdigit() else 0


class Body(NamedTuple):
    """A piece of a body, without the marks of its chunks."""

    data: bytes


class End(NamedTuple):
    """The end of a message."""


class MessageReader:
    """Reads the messages of one direction.

    Args:
        is_response: Whether the direction is the server's.

    Attributes:
        is_upgraded: Set by the caller when what follows is another protocol; it is kept in `rest`.
        no_body: Set by the caller before the head comes: the answer to a HEAD has none, whatever it says.
    """

    def __init__(self, *, is_response: bool) -> None:
        self._is_response = is_response
        self._buffer = bytearray()
        self._left: int | None = None  # bytes of the body or chunk; None is: until the end
        self._state = self._read_head
        self._parts: list[Head | Body | End] = []
        self.is_upgraded = False
        self.no_body = False
        self.is_unreadable = False

    @property
    def rest(self) -> bytes:
        """What came and is not read yet."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Head | Body | End]:
        """Take *data* and return what it completed; it stops behind the head of an upgrade."""
        self._buffer += data
        self._parts = []
        while self._buffer and not self.is_upgraded and not self.is_unreadable and self._state():
            pass
        return self._parts

    def finish(self) -> list[Head | Body | End]:
        """The connection has ended: return the end of a body that had no other."""
        if self._state == self._read_body and self._left is None:
            self._state = self._read_head
            return [End()]
        return []

    def _read_head(self) -> bool:
        while self._buffer.startswith(b"\r\n") and not self._is_response:
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self.is_unreadable = len(self._buffer) > _HEAD_LIMIT
            return False
        raw = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        first, *lines = raw[:end].decode("utf-8", "backslashreplace").split("\r\n")
        start = (*first.split(" ", 2), "", "")[:3]
        headers = [
            (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)
        ]
        head = Head((start[0], start[1], start[2]), headers, raw)
        if self._is_response != head.start[0].startswith("HTTP/"):
            self.is_unreadable = True
            return False
        self._parts.append(head)
        self._begin_body(head)
        return True

    def _begin_body(self, head: Head) -> None:
        length = head.get("content-length")
        if self._is_response and (head.status < 200 or head.status == 101):
            self.is_upgraded = head.status == 101
            return  # the final answer follows
        if self._is_response and (self.no_body or head.status in {204, 304}):
            self._end()
        elif "chunked" in head.get("transfer-encoding").lower():
            self._state = self._read_chunk_line
        elif length.isdigit():
            self._left = int(length)
            self._state = self._read_body
            if not self._left:
                self._end()
        elif self._is_response:
            self._left = None
            self._state = self._read_body
        else:
            self._end()

    def _read_body(self) -> bool:
        size = len(self._buffer) if self._left is None else min(self._left, len(self._buffer))
        self._take(size)
        if self._left == 0:
            self._end()
        return True

    def _read_chunk_line(self) -> bool:
        line = self._line()
        if line is None:
            return False
        size = line.partition(b";")[0].strip()
        if not size:  # the line break behind a chunk
            return True
        try:
            self._left = int(size, 16)
        except ValueError:
            self.is_unreadable = True
            return False
        self._state = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        self._take(min(self._left or 0, len(self._buffer)))
        if self._left == 0:
            self._state = self._read_chunk_line
        return True

    def _read_trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._end()
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            self.is_unreadable = len(self._buffer) > _LINE_LIMIT
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self, size: int) -> None:
        self._parts.append(Body(bytes(self._buffer[:size])))
        del self._buffer[:size]
        if self._left is not None:
            self._left -= size

    def _end(self) -> None:
        self._parts.append(End())
        self._state = self._read_head
        self.no_body = False
