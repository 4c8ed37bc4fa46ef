"""A connection without a network: a transport that does as it is told, and a reader of what came over it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any


class WireDouble(asyncio.Transport):
    """Stands in for a TCP transport.

    Attributes:
        sent: What the server wrote.
        reading: Whether the server wants to read.
        closed: Whether the server has closed it.
        failing: Whether writing fails, as on a connection that was reset.
        unsent: How many bytes wait for the client.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.reading = True
        self.closed = False
        self.aborted = False
        self.failing = False
        self.unsent = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.failing:
            raise ConnectionResetError("the peer has reset the connection")
        if not self.closed:
            self.sent += data

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unsent


@dataclass(frozen=True)
class Response:
    """One response; ``whole`` is false if it ended before its announced or last byte."""

    status: int
    body: bytes
    whole: bool
    keeps_alive: bool


def responses(data: bytes) -> list[Response]:
    """Read all responses there are.

    Raises:
        ValueError: If it is no sequence of HTTP/1.1 responses.
    """
    found: list[Response] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1."):
            raise ValueError(f"no response begins with {data[:80]!r}")
        first, *lines = head.decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if headers.get("transfer-encoding") == "chunked":
            body, data, whole = _chunked(rest)
        else:
            length = int(headers["content-length"])
            body, data, whole = rest[:length], rest[length:], len(rest) >= length
        keeps_alive = headers.get("connection") != "close"
        found.append(Response(int(first.split()[1]), body, whole, keeps_alive))
    return found


def _chunked(data: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while data:
        size, end, rest = data.partition(b"\r\n")
        if not end:
            raise ValueError(f"half a chunk size: {size!r}")
        length = int(size, 16)
        if rest[length : length + 2] != b"\r\n":
            raise ValueError(f"no chunk of {length} bytes: {rest[:80]!r}")
        body, data = body + rest[:length], rest[length + 2 :]
        if not length:
            return body, data, True
    return body, b"", False
