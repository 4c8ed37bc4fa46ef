"""aiohttp's response writer, with a short way for the chunks of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionResetError
from aiohttp.http import StreamWriter

if TYPE_CHECKING:
    from aiohttp.http_writer import Buffer


class HostWriter(StreamWriter):
    """Writes one response.

    Attributes:
        note: Told of every chunk, if somebody wants to know.
        length: Announced bytes that have not been written yet; ``None`` without a ``Content-Length``.
    """

    note: Callable[[Buffer], None] | None = None

    async def write(self, chunk: Buffer, *, drain: bool = True, LIMIT: int = 0x10000) -> None:  # noqa: N803
        """Write *chunk*; wait for the client once more than *LIMIT* bytes were written without."""
        if self.note is not None:
            self.note(chunk)
        # Once the headers are out, a chunk is its size, itself and a line end (RFC 9112, section 7.1).
        if type(chunk) is not bytes or not self.chunked or self._headers_buf or self._compress or not chunk:
            await super().write(chunk, drain=drain, LIMIT=LIMIT)
            return
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        data = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        transport.write(data)
        self.output_size += len(data)
        self.buffer_size += len(data)
        if drain and self.buffer_size > LIMIT:
            self.buffer_size = 0
            await self.drain()

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Write the last *chunk*."""
        if self.length is not None:
            self.length -= len(chunk)
        await super().write_eof(chunk)
