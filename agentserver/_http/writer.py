"""aiohttp's response writer, with a short way for the chunks of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import ClientConnectionResetError

from agentserver._http.aiohttp_internals import ChunkWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.http_writer import Buffer


_APART: Final = 0.001  # seconds
TAIL: Final = 4  # bytes: two line ends


class HostWriter(ChunkWriter):
    """Writes one response.

    A chunk goes out at once if there was none for a while, as between the tokens of a model. Those that
    follow close on it go out together at the loop's next turn: to a transport, each write costs three times
    what it takes to make an event.

    Attributes:
        tail: The end of what was written, at least its last `TAIL` bytes if there were as many.
        written_at: When the transport was given something last, in the loop's time; 0 until then.
        length: Announced bytes that have not been written yet; ``None`` without a ``Content-Length``.
        on_end: Called before the last chunk is written.
    """

    tail = b""
    written_at = 0.0
    on_end: Callable[[], None] | None = None
    _is_direct = False
    _pending: list[bytes] | None = None

    async def write(self, chunk: Buffer, *, drain: bool = True, LIMIT: int = 0x10000) -> None:  # noqa: N803
        """Write *chunk*; wait for the client once more than *LIMIT* bytes were written without."""
        if not self._is_direct or type(chunk) is not bytes or not chunk:
            self.tail = self.tail[-TAIL:] + bytes(memoryview(chunk).cast("B")[-TAIL:])
            await super().write(chunk, drain=drain, LIMIT=LIMIT)
            self._is_direct = self.passes_chunks
            return
        size = len(chunk)
        self.tail = chunk if size >= TAIL else self.tail[-TAIL:] + chunk
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("Cannot write to closing transport")
        data = b"%x\r\n%b\r\n" % (size, chunk)
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
        self.written_at = self.loop.time()
        pending, self._pending = self._pending, None
        if pending is not None and self.transport is not None:
            self.transport.write(b"".join(pending))

    async def drain(self) -> None:
        """Wait until the client has taken enough."""
        self.flush()
        await super().drain()

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Write the last *chunk*."""
        ended, self.on_end = self.on_end, None
        if ended is not None:
            ended()
        if self.length is not None:
            self.length -= len(chunk)
        await super().write_eof(chunk)
