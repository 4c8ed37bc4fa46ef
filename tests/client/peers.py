"""Peers that no well-behaved server is: they answer in bytes, stop half way, or do not read."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["Peer", "drip", "raw_peer", "read_frame", "read_head", "upgrade"]

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_KEY = re.compile(rb"Sec-WebSocket-Key: (\S+)", re.IGNORECASE)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@asynccontextmanager
async def raw_peer(serve: Peer) -> AsyncGenerator[str, None]:
    """Listen on a free port with small buffers; each connection is *serve*'s, and closed after it."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            tasks.discard(task)
            writer.close()

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is accepted from it inherits this
    server = await asyncio.start_server(connected, sock=listener, limit=4096)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read a request up to the blank line after its headers."""
    return await reader.readuntil(b"\r\n\r\n")


async def drip(writer: asyncio.StreamWriter, piece: bytes, pause: float = 0.02) -> None:
    """Write *piece* again and again, so that the connection is never silent."""
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)


async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a WebSocket; what comes on it is the caller's."""
    key = _KEY.search(await read_head(reader))
    assert key is not None
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())  # noqa: S324 - what the RFC asks for
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    await writer.drain()


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read one frame of a client and return the beginning of its payload, 16 bytes at most."""
    size = (await reader.readexactly(2))[1] & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
    mask = await reader.readexactly(4)
    beginning = await reader.readexactly(min(size, 16))
    left = size - len(beginning)
    while left:
        left -= len(await reader.readexactly(min(left, 65_536)))
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(beginning))
