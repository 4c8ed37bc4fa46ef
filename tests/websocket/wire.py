"""A client of ``invocations_ws`` that sends and reads bytes."""

from __future__ import annotations

import asyncio
import inspect
import struct
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import pytest

from agentserver import AgentHost, FoundryEnvironment, InvocationsServerOptions
from tests.servers import DEADLINE
from tests.websocket.talking import Talk, Talking, echo

UPGRADE = (
    b"GET /invocations_ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASK = b"\x11\x22\x33\x44"
MIB = 1 << 20


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """A client's frame; *first* is its first byte, FIN and reserved bits included."""
    size = len(payload)
    if size < 126:
        length = bytes((size,))
    else:
        length = b"\x7e" + struct.pack("!H", size) if size <= 0xFFFF else b"\x7f" + struct.pack("!Q", size)
    if not masked:
        return bytes((first,)) + length + payload
    body = bytes(byte ^ MASK[index & 3] for index, byte in enumerate(payload))
    return bytes((first, length[0] | 0x80)) + length[1:] + MASK + body


def zeros(first: int, size: int) -> bytes:
    """A large frame of zero bytes, made faster."""
    return bytes((first, 0xFF)) + struct.pack("!Q", size) + bytes(4) + bytes(size)


def close(code: int, reason: str = "") -> bytes:
    """A server's close frame."""
    payload = struct.pack("!H", code) + reason.encode()
    return bytes((0x88, len(payload))) + payload


class RawClient:
    """A client that sends and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def read(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), DEADLINE)

    async def rest(self) -> bytes:
        """All until the server closes; a reset raises."""
        return await asyncio.wait_for(self.reader.read(), DEADLINE)

    @property
    def transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.writer.transport)

    def reset(self) -> None:
        self.transport.abort()


class Dial(Protocol):
    """Opens a connection; *behind* is sent in one go with the request for the upgrade."""

    async def __call__(self, behind: bytes = b"") -> RawClient: ...


@asynccontextmanager
async def hosting(
    talk: Talk = echo,
    options: InvocationsServerOptions | None = None,
    environment: dict[str, str] | None = None,
) -> AsyncGenerator[Dial, None]:
    """A function that opens raw connections to a host whose handler talks as *talk* says."""
    builder = AgentHost.create_builder(FoundryEnvironment.read(environment or {}))
    builder.add_invocations(Talking(talk), options=options)
    builder.configure(host="127.0.0.1", port=0, shutdown_timeout=1.0)
    clients = weakref.WeakSet[RawClient]()

    async with builder.build() as host:

        async def dial(behind: bytes = b"") -> RawClient:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port, limit=64 * MIB)
            client = RawClient(reader, writer)
            clients.add(client)
            client.send(UPGRADE, behind)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
            assert head.startswith(b"HTTP/1.1 101 ")
            return client

        try:
            yield dial
        finally:
            for client in clients:
                client.writer.close()


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run *test* on asyncio's loop and on uvloop, as servers do."""

    def run(loop: str, **arguments: Any) -> None:
        module = asyncio if loop == "asyncio" else pytest.importorskip(loop)
        runner = module.new_event_loop()
        try:
            runner.run_until_complete(test(**arguments))
            runner.run_until_complete(runner.shutdown_asyncgens())
        finally:
            runner.close()

    own = inspect.signature(test).parameters.values()
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = inspect.Signature([*own, loop])  # type: ignore[attr-defined]  # pytest reads it
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.pytestmark = [  # type: ignore[attr-defined]  # as pytest's own decorators do
        *getattr(test, "pytestmark", []),
        pytest.mark.parametrize("loop", ["asyncio", "uvloop"]).mark,
    ]
    return run


async def write_all(client: RawClient, one: bytes, times: int) -> None:
    batch = max(1, 65_536 // len(one))
    while times:
        count = min(batch, times)
        client.send(one * count)
        await client.writer.drain()
        times -= count
