"""Large payloads, read from the socket straight to where they are unmasked: two copies fewer."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from agentserver.invocations._frames import FrameError, FrameReader

# A payload that has this much still to come is worth the change of protocols, and is read in such pieces.
BULK: Final = 1 << 18


class Lender(Protocol):
    """The link whose transport is lent."""

    heard: bool

    @property
    def stalled(self) -> bool:
        """Whether nothing shall be read for now."""
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
    """Has the transport of *link* while the rest of a large payload comes for *reader*."""

    __slots__ = ("_filled", "_link", "_piece", "_reader", "_transport")

    def __init__(self, link: Lender, reader: FrameReader, transport: asyncio.Transport) -> None:
        self._link = link
        self._reader = reader
        self._transport = transport
        self._filled = 0
        self._piece = bytearray(min(reader.left, BULK))
        _hand_over(transport, self, reading=True)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: never beyond the payload."""
        return memoryview(self._piece)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        self._link.heard = True
        self._filled += nbytes
        if self._filled < len(self._piece):
            return
        try:
            self._reader.fill(self._piece)
        except FrameError as error:
            self._link.fail(error)
        else:
            if self._reader.left:
                self._filled = 0
                self._piece = bytearray(min(self._reader.left, BULK))
                return
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
