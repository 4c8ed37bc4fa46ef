"""Connections that break, and are resumed in their session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import (
    Connection,
    ConnectionClosedError,
    InvocationsClient,
    Retry,
    UnreachableError,
)
from tests.client.servers import Talking, repeat


async def test_a_server_that_takes_connections_only_to_drop_them_ends_the_attempts(talking: Talking) -> None:
    opened = 0

    async def drop(socket: web.WebSocketResponse, _request: web.Request) -> None:
        nonlocal opened
        opened += 1
        await socket.close(code=1013)

    async with InvocationsClient(await talking(drop)) as client:
        async with client.connect(reconnect=Retry(attempts=4, first_delay=0.001)) as connection:
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.receive(10)
    assert (opened, caught.value.code) == (5, 1013)


async def test_a_session_that_the_server_does_not_name_can_be_resumed_all_the_same(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]],
) -> None:
    sessions: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        sessions.append(request.query.get("agent_session_id"))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if len(sessions) == 1:
            await socket.close(code=1012)
        await socket.send_str("resumed") if len(sessions) == 2 else None
        return socket

    app = web.Application()
    app.router.add_get("/invocations_ws", handler)
    server = await aiohttp_server(app)
    async with InvocationsClient(server.make_url("/")) as client:
        async with client.connect(reconnect=Retry(first_delay=0)) as connection:
            assert await connection.receive(10) == "resumed"
    assert sessions[0] is not None
    assert sessions[0] == sessions[1] == connection.session_id


class Dropping:
    """Drops each connection after one message, a given number of times."""

    def __init__(self, drops: int, code: int | None = None) -> None:
        self.drops = drops
        self.code = code
        self.sessions: list[str] = []

    async def talk(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.sessions.append(socket.headers["x-agent-session-id"])
        await socket.send_str(f"hello {len(self.sessions)}")
        if len(self.sessions) > self.drops:
            await repeat(socket, request)
        elif self.code is not None:
            await socket.close(code=self.code)
        else:
            assert request.transport is not None
            request.transport.close()


@pytest.mark.parametrize("code", [None, 1001, 1012, 1013])
async def test_a_broken_connection_is_resumed_in_its_session_when_asked_for(
    talking: Talking, code: int | None
) -> None:
    server = Dropping(2, code)
    resumed: list[str | None] = []

    async def on_reconnect(connection: Connection) -> None:
        resumed.append(connection.session_id)

    async with InvocationsClient(await talking(server.talk)) as client:
        retry = Retry(first_delay=0.01)
        async with client.connect(reconnect=retry, on_reconnect=on_reconnect) as connection:
            assert [await connection.receive(5) for _ in range(3)] == ["hello 1", "hello 2", "hello 3"]
            await connection.send("again")
            assert await connection.receive(5) == "again"
    assert len(set(server.sessions)) == 1
    assert resumed == server.sessions[1:]


@pytest.mark.parametrize("code", [1000, 1002, 1008, 1011, 4001])
async def test_a_close_that_was_meant_is_not_resumed(talking: Talking, code: int) -> None:
    server = Dropping(1, code)
    async with InvocationsClient(await talking(server.talk)) as client:
        async with client.connect(reconnect=Retry(first_delay=0)) as connection:
            assert await connection.receive() == "hello 1"
            with pytest.raises(ConnectionClosedError):
                await connection.receive()
    assert len(server.sessions) == 1


async def test_without_being_asked_a_broken_connection_is_an_error(talking: Talking) -> None:
    server = Dropping(1)
    async with InvocationsClient(await talking(server.talk)) as client, client.connect() as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            _ = [message async for message in connection]
    assert caught.value.code == 1006
    assert len(server.sessions) == 1


async def test_a_callback_may_send_and_one_that_meets_a_broken_connection_is_called_again(
    talking: Talking,
) -> None:
    heard: list[str] = []

    async def talk(socket: web.WebSocketResponse, _request: web.Request) -> None:
        heard.append(await socket.receive_str())
        if len(heard) < 3:
            await socket.close(code=1012)
        await repeat(socket, _request)

    async def on_reconnect(connection: Connection) -> None:
        await connection.send("state")

    async with InvocationsClient(await talking(talk)) as client:
        async with client.connect(reconnect=Retry(first_delay=0.01), on_reconnect=on_reconnect) as connection:
            await connection.send("state")
            receiving = asyncio.create_task(connection.receive(5))
            while len(heard) < 3:
                await asyncio.sleep(0.01)
            await connection.send("after")
            assert await receiving == "after"


async def test_a_message_sent_while_the_connection_is_broken_waits_for_the_next_one(talking: Talking) -> None:
    server = Dropping(1, 1012)
    async with InvocationsClient(await talking(server.talk)) as client:
        async with client.connect(reconnect=Retry(first_delay=0.01)) as connection:
            assert await connection.receive(5) == "hello 1"
            receiving = asyncio.create_task(connection.receive(5))
            while connection.close_code is None and len(server.sessions) < 2:
                await asyncio.sleep(0.001)
            await connection.send("waited")
            assert await receiving == "hello 2"
            assert await connection.receive(5) == "waited"


async def test_a_server_that_stays_away_ends_the_attempts_with_unreachable() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/invocations_ws", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with InvocationsClient(f"http://127.0.0.1:{port}") as client:
        async with client.connect(reconnect=Retry(attempts=2, first_delay=0.01)) as connection:
            await runner.cleanup()
            with pytest.raises(UnreachableError):
                await connection.receive(5)
