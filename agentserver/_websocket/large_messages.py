"""Large payloads, read from the socket straight to where they are unmasked.

asyncio hands a protocol what it has read as new bytes objects. For a payload of a megabyte that means to copy
it out of the socket's buffer, into a buffer that can be unmasked, and into the message, with memory that the
system must clear and give each time. While more than `LARGE_PAYLOAD` bytes of one payload are still to come,
the transport has a buffered protocol instead, which asyncio lets say where the bytes go: into pieces that are
used again, where the reader unmasks them and from which the message is joined, once. It gives the transport
back when something comes that is no large payload. That saves a fifth of what a message of 1 MiB costs the
server (`docs/decisions/websocket.md`); smaller ones never come here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Final, Protocol

from agentserver._websocket.closing import ProtocolError
from agentserver._websocket.frames import FrameReader

# A payload that has this much still to come is worth the change of protocols.
LARGE_PAYLOAD: Final = 1 << 18
# It is read in pieces of this size: a header beside a power of two. A multiple of the mask's 4 bytes.
_PIECE: Final = LARGE_PAYLOAD + 16
_MOST_SPARE: Final = 8  # pieces


class _Pieces(threading.local):
    """Pieces that are used again: a new one is memory that the system clears, and gives and takes each time.

    A loop has the spare pieces of its thread.
    """

    def __init__(self) -> None:
        self.spare: list[bytearray] = []

    def next(self) -> bytearray:
        """The piece that `take` will take."""
        if not self.spare:
            self.spare.append(bytearray(_PIECE))
        return self.spare[-1]

    def take(self) -> bytearray:
        """Take a piece."""
        self.next()
        return self.spare.pop()

    def give(self, *pieces: bytearray) -> None:
        """Give pieces back that nobody looks at any more."""
        self.spare += pieces[: _MOST_SPARE - len(self.spare)]


_pieces: Final = _Pieces()


class Watched(Protocol):
    """What somebody may look after who wants to know when there is work.

    Attributes:
        on_work: Called when something has come; ``None`` while nobody asks. Another thread may change it.
    """

    on_work: Callable[[], object] | None


class _Unwatched:
    """What nobody looks after."""

    on_work: Callable[[], object] | None = None


UNWATCHED: Final[Watched] = _Unwatched()


class Lender(asyncio.Protocol):
    """The protocol whose transport is borrowed.

    Attributes:
        received_since_ping: Whether something has come from the client since the last Ping.
        watched: Is told when something has come from the client.
    """

    __slots__ = ("received_since_ping", "watched")

    watched: Watched
    received_since_ping: bool

    def has_received(self) -> None:
        """Note that something has come, whoever reads it."""
        self.received_since_ping = True
        on_work = self.watched.on_work
        if on_work is not None:
            on_work()

    @property
    def is_paused(self) -> bool:
        """Whether nothing shall be read for now."""
        raise NotImplementedError

    def fail(self, error: ProtocolError) -> None:
        """The client broke the protocol."""
        raise NotImplementedError


class LargePayloads(asyncio.BufferedProtocol):
    """Has the transport of *lender* while *reader* reads large payloads, one after another.

    Between two of them it holds no memory; what is not the beginning of another is the lender's to read.
    """

    __slots__ = ("_filled", "_lender", "_piece", "_reader", "_transport", "_used")

    def __init__(self, lender: Lender, reader: FrameReader, transport: asyncio.Transport) -> None:
        self._lender = lender
        self._reader = reader
        self._transport = transport
        self._piece: bytearray | None = None
        self._filled = 0
        self._used: list[bytearray] = []
        _hand_over(transport, self, reading=True)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: never beyond the payload."""
        left = self._reader.left
        if not left:
            return memoryview(_pieces.next())
        if self._piece is None:
            self._piece = _pieces.take()
        return memoryview(self._piece)[self._filled : min(left, _PIECE)]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        self._lender.has_received()
        left = self._reader.left
        if not left:
            self._begin(_pieces.take(), nbytes)
            return
        self._filled += nbytes
        if self._filled < min(left, _PIECE):
            return
        piece, size = self._piece, self._filled
        assert piece is not None
        self._piece, self._filled = None, 0
        self._used.append(piece)
        try:
            self._reader.fill(piece, size)
        except ProtocolError as error:
            self._lender.fail(error)
            self._give_back()
        if not self._reader.gathers:
            _pieces.give(*self._used)
            self._used.clear()

    def _begin(self, piece: bytearray, size: int) -> None:
        try:
            if self._reader.adopt(piece, size):
                self._used.append(piece)
                return
        except ProtocolError as error:
            self._lender.fail(error)
            self._give_back()
            return
        data = bytes(memoryview(piece)[:size])
        _pieces.give(piece)
        self._give_back()
        self._lender.data_received(data)

    def _give_back(self) -> None:
        _hand_over(self._transport, self._lender, reading=not self._lender.is_paused)

    def eof_received(self) -> None:
        """The client sends no more."""
        self._lender.eof_received()

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._lender.pause_writing()

    def resume_writing(self) -> None:
        """Senders may go on."""
        self._lender.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._lender.connection_lost(exc)


def _hand_over(transport: asyncio.Transport, protocol: object, *, reading: bool) -> None:
    assert isinstance(protocol, asyncio.BaseProtocol)
    if transport.is_closing():
        return
    # uvloop looks at the kind of its protocol only when it begins to read.
    transport.pause_reading()
    transport.set_protocol(protocol)
    if reading:
        transport.resume_reading()
