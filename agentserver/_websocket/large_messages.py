"""Large payloads, read from the socket straight to where they are unmasked: three copies fewer."""

from __future__ import annotations

import asyncio
import threading
from typing import Final, Protocol

from agentserver._websocket.frames import FrameError, FrameReader

# A payload that has this much still to come is worth the change of protocols.
BULK: Final = 1 << 18
# It is read in pieces of this size: a header beside a power of two. A multiple of the mask's 4 bytes.
_PIECE: Final = BULK + 16
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


class Lender(Protocol):
    """The link whose transport is lent."""

    heard: bool

    @property
    def stalled(self) -> bool:
        """Whether nothing shall be read for now."""
        ...

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        ...

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        ...

    def pause_writing(self) -> None:
        """The client does not keep up."""
        ...

    def resume_writing(self) -> None:
        """Senders may go on."""
        ...

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        ...

    def fail(self, error: FrameError) -> None:
        """The client broke the protocol."""
        ...


class Bulk(asyncio.BufferedProtocol):
    """Has the transport of *link* while *reader* reads large payloads, one after another.

    Between two of them it holds no memory; what is not the beginning of another is the link's to read.
    """

    __slots__ = ("_filled", "_link", "_piece", "_reader", "_transport", "_used")

    def __init__(self, link: Lender, reader: FrameReader, transport: asyncio.Transport) -> None:
        self._link = link
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
        self._link.heard = True
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
        except FrameError as error:
            self._link.fail(error)
            self._give_back()
        if not self._reader.gathers:
            _pieces.give(*self._used)
            self._used.clear()

    def _begin(self, piece: bytearray, size: int) -> None:
        try:
            if self._reader.adopt(piece, size):
                self._used.append(piece)
                return
        except FrameError as error:
            self._link.fail(error)
            self._give_back()
            return
        data = bytes(memoryview(piece)[:size])
        _pieces.give(piece)
        self._give_back()
        self._link.data_received(data)

    def _give_back(self) -> None:
        _hand_over(self._transport, self._link, reading=not self._link.stalled)

    def eof_received(self) -> None:
        """The client sends no more."""
        self._link.eof_received()

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._link.pause_writing()

    def resume_writing(self) -> None:
        """Senders may go on."""
        self._link.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._link.connection_lost(exc)


def _hand_over(transport: asyncio.Transport, protocol: object, *, reading: bool) -> None:
    assert isinstance(protocol, asyncio.BaseProtocol)
    if transport.is_closing():
        return
    # uvloop looks at the kind of its protocol only when it begins to read.
    transport.pause_reading()
    transport.set_protocol(protocol)
    if reading:
        transport.resume_reading()
