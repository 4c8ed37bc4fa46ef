"""Bytes to a server over a socket pair, cut wherever a case says, and what comes back."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from agentserver import AgentHost, AgentHostBuilder, FoundryEnvironment

Accept = Callable[[socket.socket], Awaitable[object]]
"""Has a server serve a connected socket."""

QUIET_SECONDS = 2.0
"""After so long without a byte the server is taken to wait for more."""


class Answer(NamedTuple):
    """What a server sent.

    Args:
        data: All of it.
        closed: Whether it closed the connection; otherwise it waits.
    """

    data: bytes
    closed: bool


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    """*data* in one to eight pieces, at any place."""
    count = rng.choice((0, 0, 1, 2, 7))
    places = sorted(rng.randrange(len(data) + 1) for _ in range(count))
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


async def exchange(accept: Accept, pieces: Sequence[bytes], *, head: bytes = b"") -> Answer:
    """Send *pieces* one by one and read all that comes back.

    Args:
        accept: The server's way in.
        pieces: Each is a read of its own to the server, unless it is slow.
        head: Sent first, and the rest only after the end of the answer's head.
    """
    # Bare sockets: a stream of asyncio's forgets what it could still read once a write has failed.
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    await accept(theirs)
    received = bytearray()
    with ours:
        if head:
            await asyncio.get_running_loop().sock_sendall(ours, head)
            while b"\r\n\r\n" not in received:
                received += await _receive(ours)
        sending = asyncio.create_task(_send(ours, pieces))
        try:
            while data := await _receive(ours):
                received += data
        except asyncio.TimeoutError:
            return Answer(bytes(received), closed=False)
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        return Answer(bytes(received), closed=True)


async def _receive(connection: socket.socket) -> bytes:
    try:
        receiving = asyncio.get_running_loop().sock_recv(connection, 1 << 16)
        return await asyncio.wait_for(receiving, QUIET_SECONDS)
    except ConnectionError:
        return b""  # A server that closes with bytes unread: what it sent has been read before that is told.


async def _send(connection: socket.socket, pieces: Sequence[bytes]) -> None:
    try:
        for piece in pieces:
            await asyncio.get_running_loop().sock_sendall(connection, piece)
            for _ in range(3):  # turns of the loop in which the server reads the piece
                await asyncio.sleep(0)
    except ConnectionError:
        pass  # The server has closed already.


@asynccontextmanager
async def host(configure: Callable[[AgentHostBuilder], object]) -> AsyncGenerator[AgentHost, None]:
    """A host of ours without a port; ``accept`` is the way in."""
    builder = AgentHost.create_builder(FoundryEnvironment())
    configure(builder)
    made = builder.build()
    await made.start(listen=False)
    try:
        yield made
    finally:
        await made.stop()
