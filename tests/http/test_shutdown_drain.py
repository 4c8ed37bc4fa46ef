"""The end of the process and what clients have not read yet: it waits for them, within its time-out."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from tests.http.loops import on_both_loops, run_on
from tests.http.raw import port_of, post
from tests.servers import serving


class Filling(InvocationHandler):
    """Writes until the transport has bytes that the client's side has no room for."""

    sent = 0

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        response = web.StreamResponse()
        await response.prepare(request)
        assert request.transport is not None
        while request.transport.get_write_buffer_size() == 0:
            await response.write(b"x" * 30_000)
            Filling.sent += 30_000
            await asyncio.sleep(0.002)  # let each part go out by itself
        await response.write(b"y" * 20_000)
        Filling.sent += 20_000
        return response


def within(seconds: float) -> Any:
    def configure(builder: AgentHostBuilder) -> None:
        builder.configure(shutdown_timeout=seconds)

    return configure


async def narrow_connection(port: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


async def until_answered(caplog: pytest.LogCaptureFixture) -> None:
    while not [record for record in caplog.records if record.name == "agentserver.requests"]:
        await asyncio.sleep(0.01)


async def body_of(connection: socket.socket) -> bytes:
    loop, received = asyncio.get_running_loop(), b""
    while data := await asyncio.wait_for(loop.sock_recv(connection, 65_536), 10):
        received += data
    chunks, body = received.partition(b"\r\n\r\n")[2], b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        if size == b"0":
            return body
        body += chunks[: int(size, 16)]
        chunks = chunks[int(size, 16) + 2 :]
    raise AssertionError(f"cut after {len(body)} bytes")


@on_both_loops
def test_what_a_client_has_not_read_yet_it_can_still_read(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Filling.sent = 0

    async def main() -> None:
        async with serving(Filling, within(20)) as client:
            connection = await narrow_connection(port_of(client))
            await asyncio.get_running_loop().sock_sendall(connection, post())
            await until_answered(caplog)
            begun = time.monotonic()
            reading = asyncio.ensure_future(read_later(connection))
        # With a process the loop ends, and what its transports hold: that the server waits is the point.
        assert time.monotonic() - begun > 0.4
        assert len(await reading) == Filling.sent
        connection.close()

    async def read_later(connection: socket.socket) -> bytes:
        await asyncio.sleep(0.5)  # meanwhile the server has begun to stop
        return await body_of(connection)

    run_on(loop_name, main())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@on_both_loops
def test_a_client_that_does_not_read_is_waited_for_no_longer_than_the_time_out(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    begun: list[float] = []

    async def main() -> None:
        async with serving(Filling, within(1.5)) as client:
            connection = await narrow_connection(port_of(client))
            await asyncio.get_running_loop().sock_sendall(connection, post())
            await until_answered(caplog)
            begun.append(time.monotonic())
        assert 1.4 < time.monotonic() - begun[0] < 6
        connection.close()

    run_on(loop_name, main())
    assert "1 clients did not read to the end what they were sent" in caplog.text


async def test_idle_connections_are_not_waited_for() -> None:
    async with serving(Filling, within(20)) as client:
        async with client.get("/readiness") as response:
            assert response.status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(client))
        begun = time.monotonic()
    assert time.monotonic() - begun < 2
    assert await reader.read() == b""
    writer.close()
