"""Clients that are slow on purpose: each limit, its clear answer, and what it frees."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    AgentHost,
    AgentHostBuilder,
    AgentHostOptions,
    FoundryEnvironment,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
)
from agentserver._http.deadlines import ClientDeadlines
from agentserver.errors import ConfigurationError
from tests.hardening.wire_double import WireDouble
from tests.http.raw import ask, connected, get, port_of, post
from tests.servers import serving

TO_INVOKE = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"


class Agent(InvocationHandler):
    """Reads the body, or does what the path's query says."""

    ended = asyncio.Event()

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        if "flood" in request.query:
            return self._flood()
        if "wait" in request.query:
            await asyncio.sleep(float(request.query["wait"]))
        return await request.read()

    async def _flood(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            self.ended.set()


@pytest.fixture
def agent() -> type[Agent]:
    class Fresh(Agent):
        ended = asyncio.Event()

    return Fresh


def limits(**options: Any) -> Callable[[AgentHostBuilder], object]:
    return lambda builder: builder.configure(**options)


@pytest.mark.parametrize("begun", [b"G", b"GET /readiness HTTP/1.1\r\nHost: x\r\nX-Slow:", b"\r\n"])
async def test_headers_that_do_not_end_in_time_are_a_408(agent: type[Agent], begun: bytes) -> None:
    async with serving(agent, limits(header_timeout=0.2)) as client, connected(client) as connection:
        connection.send(begun)
        answer = await connection.answer()
        assert answer.error == (408, "request_timeout", "user")
        assert await connection.rest() == b""


async def test_half_a_head_behind_a_running_request_has_its_time_once_that_has_ended(
    agent: type[Agent],
) -> None:
    async with serving(agent, limits(header_timeout=0.4)) as client, connected(client) as connection:
        connection.send(post(path="/invocations?wait=0.8"))
        await asyncio.sleep(0.1)
        connection.send(b"GET /readiness HTTP/1.1\r\nX-Slow:")
        assert (await connection.answer()).status == 200
        begun = asyncio.get_running_loop().time()
        assert (await connection.answer()).error == (408, "request_timeout", "user")
        assert asyncio.get_running_loop().time() - begun > 0.3
    async with serving(agent, limits(header_timeout=0.4)) as client, connected(client) as connection:
        connection.send(post(path="/invocations?wait=0.8"))
        await asyncio.sleep(0.1)
        connection.send(get("/readiness")[:10])
        assert (await connection.answer()).status == 200
        connection.send(get("/readiness")[10:])
        assert (await connection.answer()).status == 200


async def test_a_byte_now_and_then_does_not_lengthen_the_time_for_headers(agent: type[Agent]) -> None:
    async with serving(agent, limits(header_timeout=0.3)) as client, connected(client) as connection:
        answer = asyncio.create_task(connection.answer())
        for byte in get("/readiness"):
            if answer.done():
                break
            connection.send(bytes([byte]))
            await asyncio.sleep(0.1)
        assert (await answer).error == (408, "request_timeout", "user")


async def test_the_time_for_headers_begins_anew_with_each_request(agent: type[Agent]) -> None:
    async with serving(agent, limits(header_timeout=2.0)) as client, connected(client) as connection:
        for _ in range(5):
            begin, rest = get("/readiness")[:9], get("/readiness")[9:]
            connection.send(begin)
            await asyncio.sleep(0.5)
            connection.send(rest)
            assert (await connection.answer()).status == 200


async def test_a_body_that_stops_is_a_408_for_the_handler_that_waits_for_it(agent: type[Agent]) -> None:
    async with serving(agent, limits(body_timeout=0.2)) as client:
        for framing in (b"Content-Length: 9\r\n\r\nhel", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhel"):
            async with connected(client) as connection:
                connection.send(TO_INVOKE, framing)
                answer = await connection.answer()
                assert answer.error == (408, "request_timeout", "user")
                assert "x-agent-invocation-id" in answer.headers
                assert await connection.rest() == b""


async def test_a_body_that_goes_on_slowly_is_read_to_its_end(agent: type[Agent]) -> None:
    async with serving(agent, limits(body_timeout=2.0)) as client, connected(client) as connection:
        connection.send(TO_INVOKE, b"Content-Length: 12\r\n\r\n")
        for _ in range(12):
            await asyncio.sleep(0.25)
            connection.send(b"x")
        assert (await connection.answer()).body == b"x" * 12


async def test_a_body_that_the_handler_leaves_unread_is_not_the_clients_fault(agent: type[Agent]) -> None:
    body = b"x" * 20_000_000
    async with serving(agent, limits(body_timeout=0.2)) as client, connected(client) as connection:
        connection.send(post(body, path="/invocations?wait=1"))
        assert (await connection.answer()).body == body


async def test_a_handler_may_take_longer_than_any_time_limit_of_a_connection(agent: type[Agent]) -> None:
    configure = limits(header_timeout=0.5, body_timeout=0.5, write_timeout=0.5)
    async with serving(agent, configure) as client, connected(client) as connection:
        connection.send(post(b"fine", path="/invocations?wait=2"))
        assert (await connection.answer()).body == b"fine"


async def test_a_client_that_never_reads_is_cut_off_and_its_handler_ended(agent: type[Agent]) -> None:
    async with serving(agent, limits(write_timeout=0.3)) as client:
        with unread(port_of(client)) as greedy:
            greedy.sendall(post(path="/invocations?flood"))
            await asyncio.wait_for(agent.ended.wait(), 10)
        assert (await ask(client, post(b"next"))).body == b"next"


async def test_a_websocket_client_that_never_reads_is_cut_off_and_its_handler_ended() -> None:
    ended = asyncio.Event()

    class Flood(InvocationWebSocketHandler):
        async def handle_websocket(
            self, websocket: web.WebSocketResponse, context: InvocationContext
        ) -> None:
            try:
                while True:
                    await websocket.send_bytes(b"x" * 65536)
            finally:
                ended.set()

    async with serving(Flood, limits(write_timeout=0.3)) as client:
        with unread(port_of(client)) as greedy:
            upgrade = ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13")
            greedy.sendall(get("/invocations_ws", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
            await asyncio.wait_for(ended.wait(), 10)
        assert (await ask(client, get("/readiness"))).status == 200


def unread(port: int) -> socket.socket:
    """A connection with a small window, that nobody reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    return client


async def test_a_client_that_reads_slowly_gets_everything(agent: type[Agent]) -> None:
    body = b"x" * 8_000_000
    async with serving(agent, limits(write_timeout=2.0)) as client, connected(client) as connection:
        connection.send(post(body))
        got = await connection.reader.readuntil(b"\r\n\r\n")
        got = b""
        while len(got) < len(body):
            await asyncio.sleep(0.15)
            got += await connection.reader.read(400_000)
        assert got == body


async def test_a_closing_connection_whose_rest_nobody_reads_is_freed() -> None:
    """What waits for a client that does not read would hold a closed connection for ever."""
    builder = AgentHost.create_builder(FoundryEnvironment()).add_invocations(Agent)
    host = builder.build()
    await host.start(listen=False)
    assert host._server is not None
    connection, wire, deadlines = host._server(), WireDouble(), ClientDeadlines(builder.options)
    connection.connection_made(wire)
    connection.force_close()
    wire.unsent = 100
    now = asyncio.get_running_loop().time()
    for seconds in (0, 59, 61):
        assert not wire.aborted
        connection.keep_to(deadlines, now + seconds)
    assert wire.aborted
    connection.connection_lost(None)
    await host.stop()


async def test_an_idle_connection_is_closed_without_a_word(agent: type[Agent]) -> None:
    async with serving(agent, limits(keepalive_timeout=0.2)) as client, connected(client) as connection:
        assert await connection.rest() == b""


async def test_without_keep_alive_a_connection_waits_for_its_first_request_and_ends_with_the_answer(
    agent: type[Agent],
) -> None:
    async with serving(agent, limits(keepalive_timeout=0)) as client:
        for request, status in ((post(b"x"), 200), (get("/nowhere"), 404), (b"nonsense\r\n\r\n", 400)):
            async with connected(client) as connection:
                await asyncio.sleep(0.2)  # several looks at the connections
                connection.send(request)
                answer = await connection.answer()
                assert (answer.status, answer.headers["Connection"]) == (status, "close")
                assert await connection.rest() == b""


async def test_a_request_on_a_connection_too_many_is_a_503_and_the_others_are_unharmed(
    agent: type[Agent],
) -> None:
    async with (
        serving(agent, limits(max_connections=2)) as client,
        connected(client) as first,
        connected(client) as second,
    ):
        for connection in (first, second):
            connection.send(get("/readiness"))
            assert (await connection.answer()).status == 200
        async with connected(client) as third:
            third.send(post(b"too many"))
            answer = await third.answer()
            assert answer.error == (503, "unavailable", "upstream")
            assert answer.headers["Retry-After"] == "1"
            assert await third.rest() == b""
        first.send(post(b"still here"))
        assert (await first.answer()).body == b"still here"
        second.writer.close()
        await until_served(client)


async def until_served(client: Any) -> None:
    while (await ask(client, get("/readiness"))).status != 200:
        await asyncio.sleep(0.02)


async def test_a_connection_too_many_that_says_nothing_is_closed_soon(agent: type[Agent]) -> None:
    async with serving(agent, limits(max_connections=1)) as client, connected(client) as first:
        first.send(get("/readiness"))
        assert (await first.answer()).status == 200
        async with connected(client) as second:
            assert await asyncio.wait_for(second.rest(), 5) == b""


async def test_the_limits_of_the_headers_are_options(agent: type[Agent]) -> None:
    configure = limits(max_header_count=5, max_header_size=100, max_request_line=50)
    async with serving(agent, configure) as client:
        for request in (
            get("/readiness", *(f"x-{i}: 1" for i in range(5))),
            get("/readiness", "x-long: " + "y" * 200),
            get("/readiness?" + "z" * 100),
        ):
            assert (await ask(client, request)).error == (400, "invalid_request", "user")
        assert (await ask(client, get("/readiness"))).status == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"header_timeout": -1}, "header_timeout is -1, but it must be a finite number, 0 or more"),
        ({"body_timeout": float("nan")}, "body_timeout is nan"),
        (
            {"max_connections": 0},
            "max_connections is 0, but it must be a whole number, 1 or more, or None",
        ),
        ({"max_header_count": None}, "max_header_count is None, but it must be a whole number, 1 or more"),
    ],
)
def test_a_limit_out_of_its_range_is_refused_when_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AgentHostOptions(**options)
