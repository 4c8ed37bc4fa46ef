"""Connections at the end of the process: idle, kept alive, half sent, many at once (contract, section 9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.http.raw import Connection, get, post
from tests.servers import ServerProcess, running

MODULE = ("-m", "tests.agents")


@asynccontextmanager
async def connected(server: ServerProcess) -> AsyncGenerator[Connection, None]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def until_logged(server: ServerProcess, text: str) -> None:
    while text not in "".join(server.log):
        await asyncio.sleep(0.01)


async def test_idle_connections_do_not_keep_the_process_from_ending() -> None:
    async with running(*MODULE) as server:
        async with connected(server) as fresh, connected(server) as used, connected(server) as half:
            used.send(get("/readiness"))
            assert (await used.answer()).status == 200
            half.send(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Le")
            await half.writer.drain()
            begun = time.monotonic()
            server.terminate()
            assert await server.exit_code() == 0
            assert time.monotonic() - begun < 5
            for connection in (fresh, used, half):
                assert await connection.rest() == b""


async def test_while_the_delay_lasts_requests_are_served_and_told_that_it_is_the_last() -> None:
    async with running(*MODULE, environment={"DELAY": "2"}) as server:
        async with connected(server) as kept:
            kept.send(post(b"before"))
            assert "Connection" not in (await kept.answer()).headers
            server.terminate()
            await asyncio.wait_for(until_logged(server, "shutting down"), 10)
            kept.send(post(b"after"))
            answer = await kept.answer()
            assert (answer.status, answer.body, answer.headers["Connection"]) == (200, b"after done", "close")
            assert await kept.rest() == b""
        async with connected(server) as late:
            late.send(get("/readiness"))
            assert (await late.answer()).status == 503
        assert await server.exit_code() == 0


async def test_many_requests_in_flight_are_all_answered_and_none_begins_after_them() -> None:
    async with running(*MODULE) as server:
        async with connected(server) as asking:
            waiting = [asyncio.create_task(wind_down(server)) for _ in range(20)]
            while await begun(asking) < 20:
                await asyncio.sleep(0.01)
        server.terminate()
        bodies = await asyncio.gather(*waiting)
        assert await server.exit_code() == 0
    assert bodies == [b"wound down"] * 20


async def wind_down(server: ServerProcess) -> bytes:
    async with connected(server) as connection:
        connection.send(post(b"wind-down"), post(b"pipelined behind it"))
        body = (await connection.answer()).body
        assert await connection.rest() == b""
        return body


async def begun(connection: Connection) -> int:
    """How many requests the handler has begun to serve."""
    connection.send(post(b"count"))
    return int((await connection.answer()).body)
