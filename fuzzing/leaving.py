"""Clients that leave in every way there is: afterwards the server holds what it held before.

A way is a function of a connected socket; the client has left when it returns: what is open is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from .websocket import BINARY, CLOSE, TEXT, frame

Way = Callable[[socket.socket], Awaitable[None]]

_SMALL: Final = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
_WAIT: Final = b"POST /invocations?wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
_STREAM: Final = b"POST /invocations?stream=%d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
_CHUNKED: Final = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
_UPGRADE: Final = (
    b"GET /invocations_ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_FIGURES: Final = b"GET /invocations/figures HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_RNG: Final = random.Random(0)  # for masks alone
_DEADLINE: Final = 20.0


class Figures(NamedTuple):
    """What a server holds.

    Args:
        tasks: Its tasks.
        descriptors: Its open files and sockets.
        objects: What its garbage collector knows.
        memory: Bytes that are resident.
    """

    tasks: int
    descriptors: int
    objects: int
    memory: int


def reset(connection: socket.socket) -> None:
    """Leave with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def send(connection: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, data)


async def receive(connection: socket.socket, end: bytes = b"") -> bytes:
    """Read until *end* has come, or to the end of the connection."""
    data = b""
    while not end or end not in data:
        piece = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(connection, 1 << 16), _DEADLINE)
        if not piece:
            break
        data += piece
    return data


async def _upgraded(connection: socket.socket) -> None:
    await send(connection, _UPGRADE)
    assert b" 101 " in await receive(connection, b"\r\n\r\n")


# --- the ways


async def fin_before_a_word(connection: socket.socket) -> None:
    connection.close()


async def fin_while_the_handler_runs(connection: socket.socket) -> None:
    await send(connection, _WAIT)
    await asyncio.sleep(0.01)


async def reset_while_the_handler_runs(connection: socket.socket) -> None:
    await send(connection, _WAIT)
    await asyncio.sleep(0.01)
    reset(connection)


async def half_close(connection: socket.socket) -> None:
    await send(connection, _SMALL)
    connection.shutdown(socket.SHUT_WR)
    await receive(connection)


async def amid_the_head(connection: socket.socket) -> None:
    await send(connection, _SMALL[:30])


async def amid_the_body(connection: socket.socket) -> None:
    await send(connection, _SMALL[:-2])
    await asyncio.sleep(0.005)


async def amid_a_chunk(connection: socket.socket) -> None:
    await send(connection, _CHUNKED + b"5\r\nhello\r\n10\r\nhal")
    await asyncio.sleep(0.005)
    reset(connection)


async def amid_the_response(connection: socket.socket) -> None:
    await send(connection, _STREAM % 1000)
    await receive(connection, b"\r\n\r\n")
    reset(connection)


async def after_the_last_byte(connection: socket.socket) -> None:
    await send(connection, _SMALL)
    await receive(connection, b"hello")
    reset(connection)


async def slow_reader(connection: socket.socket) -> None:
    await send(connection, _STREAM % 20_000)
    await receive(connection, b"\r\n\r\n")
    await asyncio.sleep(0.2)


async def amid_a_pipeline(connection: socket.socket) -> None:
    await send(connection, _SMALL * 5 + _WAIT + _SMALL)
    await receive(connection, b"hello")


async def after_100_continue(connection: socket.socket) -> None:
    await send(connection, _SMALL[:-9] + b"\r\nExpect: 100-continue\r\n\r\n")
    await receive(connection, b"\r\n\r\n")
    reset(connection)


async def amid_an_upgrade(connection: socket.socket) -> None:
    await send(connection, _UPGRADE)


async def websocket_close(connection: socket.socket) -> None:
    await _upgraded(connection)
    await send(connection, frame(TEXT, b"hello", _RNG) + frame(CLOSE, b"\x03\xe8", _RNG))
    await receive(connection)


async def websocket_reset(connection: socket.socket) -> None:
    await _upgraded(connection)
    await send(connection, frame(TEXT, b"hello", _RNG))
    reset(connection)


async def websocket_without_an_answer_to_close(connection: socket.socket) -> None:
    await _upgraded(connection)
    await send(connection, frame(TEXT, b"bye", _RNG))
    await receive(connection)


async def websocket_amid_a_frame(connection: socket.socket) -> None:
    await _upgraded(connection)
    await send(connection, frame(BINARY, bytes(70_000), _RNG)[:30_000])


async def websocket_amid_a_message(connection: socket.socket) -> None:
    await _upgraded(connection)
    await send(connection, frame(TEXT, b"begun", _RNG, first=0))
    connection.shutdown(socket.SHUT_WR)
    await receive(connection)


async def websocket_slow_reader(connection: socket.socket) -> None:
    await _upgraded(connection)
    await send(connection, frame(TEXT, b"flood", _RNG))
    await asyncio.sleep(0.1)


WAYS: Final[Sequence[Way]] = (
    fin_before_a_word,
    fin_while_the_handler_runs,
    reset_while_the_handler_runs,
    half_close,
    amid_the_head,
    amid_the_body,
    amid_a_chunk,
    amid_the_response,
    after_the_last_byte,
    slow_reader,
    amid_a_pipeline,
    after_100_continue,
    amid_an_upgrade,
    websocket_close,
    websocket_reset,
    websocket_without_an_answer_to_close,
    websocket_amid_a_frame,
    websocket_amid_a_message,
    websocket_slow_reader,
)


# --- the soak


async def leave(port: int, way: Way) -> None:
    """Connect to *port* of this machine and leave in that way.

    Raises:
        AssertionError: If the server does not answer.
    """
    connection = socket.socket()
    connection.setblocking(False)
    with connection, contextlib.suppress(ConnectionError):
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        try:
            await way(connection)
        except asyncio.TimeoutError:
            raise AssertionError(f"{way.__name__}: the server said nothing for {_DEADLINE:g} s") from None


async def soak(port: int, rng: random.Random, count: int, *, at_once: int = 20) -> None:
    """Have *count* clients leave, *at_once* at a time, every way about equally often."""
    ways = [WAYS[number % len(WAYS)] for number in range(count)]
    rng.shuffle(ways)
    places = asyncio.Semaphore(at_once)

    async def one(way: Way) -> None:
        async with places:
            await leave(port, way)

    await asyncio.gather(*(one(way) for way in ways))


async def figures(port: int) -> Figures:
    """What the server holds now."""
    connection = socket.socket()
    connection.setblocking(False)
    with connection:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        await send(connection, _FIGURES)
        _, _, body = (await receive(connection)).partition(b"\r\n\r\n")
    return Figures(**json.loads(body))


async def settled(port: int, before: Figures) -> Figures:
    """What the server holds once it has no more tasks and descriptors than *before*.

    Raises:
        AssertionError: If that does not come.
    """
    end = asyncio.get_running_loop().time() + _DEADLINE
    while True:
        now = await figures(port)
        if now.tasks <= before.tasks and now.descriptors <= before.descriptors:
            return now
        assert asyncio.get_running_loop().time() < end, f"the server keeps {now}, and held {before}"
        await asyncio.sleep(0.05)
