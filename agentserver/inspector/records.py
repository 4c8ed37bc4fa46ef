"""What goes through the pipe from the agent's process to the inspector: records with a fixed head. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, NamedTuple

__all__ = ["Kind", "Reader", "Record", "encode"]

_HEAD: Final = struct.Struct(">BIdI")


class Kind(IntEnum):
    """What a record says."""

    OPENED = 1
    """A connection was accepted; JSON: its peer's port."""
    RECEIVED = 2
    """Bytes that came from the client."""
    SENT = 3
    """Bytes that were given to the transport."""
    CLOSED = 4
    """The connection is gone."""
    GAP = 5
    """Some of the connection's bytes were dropped, because the pipe was not read."""
    LOG = 6
    """A log record; JSON."""
    DROPPED = 7
    """So many records were dropped; JSON."""
    SPAN = 8
    """A span has begun or ended; JSON."""
    STEP = 9
    """A step of a durable run was recorded; JSON."""


class Record(NamedTuple):
    """One record.

    Args:
        kind: What it says.
        connection: The number of the connection that it is about, 0 for none.
        at: When, in monotonic seconds, which the processes of one machine share.
        data: Bytes, or JSON.
    """

    kind: Kind
    connection: int
    at: float
    data: bytes = b""

    def json(self) -> Any:
        """The data, read as JSON."""
        return json.loads(self.data)


def encode(record: Record) -> bytes:
    """Make what goes through the pipe of *record*."""
    return _HEAD.pack(record.kind, record.connection, record.at, len(record.data)) + record.data


class Reader:
    """Makes records of pieces of bytes, cut anywhere."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[Record]:
        """Take *piece* and give the records that it completed."""
        rest = self._rest
        rest += piece
        start = 0
        while len(rest) - start >= _HEAD.size:
            kind, connection, at, size = _HEAD.unpack_from(rest, start)
            end = start + _HEAD.size + size
            if end > len(rest):
                break
            data = bytes(memoryview(rest)[start + _HEAD.size : end])
            start = end
            yield Record(Kind(kind), connection, at, data)
        del rest[:start]
