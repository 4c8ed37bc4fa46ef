"""aiohttp's response writer, with a short way for the chunks of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiohttp import ClientConnectionResetError
from aiohttp.http import StreamWriter

if TYPE_CHECKING:
    from aiohttp.http_writer import Buffer


_APART: Final = 0.001  # seconds


class HostWriter(StreamWriter):
    """Writes one response.

    A chunk goes out at once if there was none for a while, as between the tokens of a model. Those that
    follow close on it go out together at the loop's next turn: to a transport, each write costs three times
    what it takes to make an event.

    Attributes:
        last_chunk: What was written last.
        written_at: When the transport was given something last, in the loop's time; 0 until then.
        length: Announced bytes that have not been written yet; ``None`` without a ``Content-Length``.
    """

    last_chunk: Buffer = b""
    written_at = 0.0
    _pending: list[bytes] | None = None

    async def write(self, chunk: Buffer, *, drain: bool = True, LIMIT: int = 0x10000) -> None:  # noqa: N803
        """Write *chunk*; wait for the client once more than *LIMIT* bytes were written without."""
        self.last_chunk = chunk
        # Once the headers are out, a chunk is its size, itself and a line end (RFC 9112, section 7.1).
        if type(chunk) is not bytes or not self.chunked or self._headers_buf or self._compress or not chunk:
            await super().write(chunk, drain=drain, LIMIT=LIMIT)
            return
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        data = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        if self._pending is not None:
            self._pending.append(data)
        elif (now := self.loop.time()) - self.written_at > _APART:
            self.written_at = now
            transport.write(data)
        else:
            self._pending = [data]
            self.loop.call_soon(self.flush)
        self.output_size += len(data)
        self.buffer_size += len(data)
        if drain and self.buffer_size > LIMIT:
            self.buffer_size = 0
            await self.drain()

    def flush(self) -> None:
        """Give the transport what was written since the loop's last turn."""
        pending, self._pending = self._pending, None
        transport = self._protocol.transport
        if pending is not None and transport is not None:
            self.written_at = self.loop.time()
            transport.write(b"".join(pending))

    async def drain(self) -> None:
        """Wait until the client has taken enough."""
        self.flush()
        await super().drain()

    def _write(self, chunk: Buffer) -> None:
        self.flush()
        self.written_at = self.loop.time()
        super()._write(chunk)

    def _writelines(self, chunks: Iterable[Buffer]) -> None:
        self.flush()
        self.written_at = self.loop.time()
        super()._writelines(chunks)

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Write the last *chunk*."""
        if self.length is not None:
            self.length -= len(chunk)
        await super().write_eof(chunk)
