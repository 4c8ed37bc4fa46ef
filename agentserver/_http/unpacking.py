"""Bodies that were sent packed (``Content-Encoding``): unpacked step by step, and refused if cut short.

aiohttp's parser can unpack too, but it does so within the call that reads the socket, as much as a reader's
limit allows, and it takes what ends in the middle for the whole. Here a task unpacks a little, gives the loop
a turn, waits while the handler does not read, and stops at the limit. What is thrown away after an answer is
thrown away packed.

The task belongs to the request: who starts it ends it with the request.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.compression_utils import BrotliDecompressor, ZSTDDecompressor
from aiohttp.streams import StreamReader

from agentserver.errors import PayloadTooLargeError

_STEP: Final = 65_536  # bytes that are unpacked in one go, about a tenth of a millisecond
_MAX_MEMBERS: Final = 1024  # streams that may stand one behind the other in one body, as aiohttp has it


class _Unpacker(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """Unpack *data* in pieces of which none is large; some may be empty."""
        ...

    def close(self) -> None:
        """Check that the end has come; raises ValueError if not."""
        ...


class UnpackedStream:
    """A body as it was before it was packed.

    Args:
        packed: The body as it comes.
        coding: ``gzip``, ``deflate``, ``br`` or ``zstd``.
        limit: Bytes that it may have.

    Attributes:
        content: The body.
    """

    def __init__(self, packed: StreamReader, coding: str, limit: int) -> None:
        loop = asyncio.get_running_loop()
        self._gate = _Gate(loop)
        self.content = StreamReader(self._gate, _STEP, loop=loop)
        self._limit = limit
        self._task = loop.create_task(self._run(packed, coding))

    def close(self) -> None:
        """Stop unpacking."""
        self._task.cancel()

    async def _run(self, packed: StreamReader, coding: str) -> None:
        try:
            unpacker = _unpacker(coding)
            while chunk := await packed.readany():
                for piece in unpacker.feed(chunk):
                    self._take(piece)
                    await asyncio.sleep(0)
                    await self._gate.is_open.wait()
            unpacker.close()
        except PayloadTooLargeError as error:
            self.content.set_exception(error)
        # What decompressors raise is theirs to know, and what ended the packed body is the reader's to hear.
        except Exception as error:  # noqa: BLE001
            malformed = web.RequestPayloadError(f"the body cannot be unpacked: {error}")
            self.content.set_exception(packed.exception() or malformed)
        else:
            self.content.feed_eof()

    def _take(self, piece: bytes) -> None:
        self.content.feed_data(piece)
        if self.content.total_bytes > self._limit:
            raise PayloadTooLargeError(self._limit)


class _Gate(BaseProtocol):
    """What a stream takes for its connection: it is asked to pause and to go on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.is_open = asyncio.Event()
        self.is_open.set()

    @property
    def connected(self) -> bool:
        """Yes: the end of the connection is told by the packed body."""
        return True

    def pause_reading(self) -> None:
        """Unpack no more for now."""
        self.is_open.clear()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on."""
        self.is_open.set()


def _unpacker(coding: str) -> _Unpacker:
    if coding in {"gzip", "deflate"}:
        return _Zlib(coding)
    return _Foreign(BrotliDecompressor() if coding == "br" else ZSTDDecompressor())


class _Zlib:
    """gzip (RFC 1952) and deflate, with its header (RFC 1950) or, as many clients have it, without."""

    def __init__(self, coding: str) -> None:
        self._bits = 16 + zlib.MAX_WBITS if coding == "gzip" else 0  # 0: to be seen in the first byte
        self._stream: zlib._Decompress | None = None
        self._members = 0
        self._is_within = False  # whether something of the present member has come

    def feed(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        # A full piece may have more behind it although nothing is left to put in.
        while data or len(piece) == _STEP:
            if self._stream is None:
                if not self._bits:
                    self._bits = zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS
                self._stream = zlib.decompressobj(self._bits)
            self._is_within = True
            piece = self._stream.decompress(data, _STEP)
            yield piece
            data = self._stream.unconsumed_tail
            if self._stream.eof:
                data, piece = self._stream.unused_data, b""
                self._next_member()

    def _next_member(self) -> None:
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise ValueError(f"more than {_MAX_MEMBERS} streams one behind the other")
        self._stream, self._is_within = None, False

    def close(self) -> None:
        if self._is_within:
            raise ValueError("it ends before its end")


class _Foreign:
    """What another package unpacks, if it is installed; it does not say whether the end has come."""

    def __init__(self, unpacker: BrotliDecompressor | ZSTDDecompressor) -> None:
        self._unpacker = unpacker

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._unpacker.decompress_sync(data, max_length=_STEP)
        while self._unpacker.data_available:
            yield self._unpacker.decompress_sync(b"", max_length=_STEP)

    def close(self) -> None:
        self._unpacker.flush()
