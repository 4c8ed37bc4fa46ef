"""Raw WebSockets: messages, and close codes in both directions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import (
    ConnectionClosedError,
    DeadlineError,
    InvocationsClient,
    RefusedError,
    ResponseError,
    Timeouts,
    UnreachableError,
)
from tests.client.servers import Talking, repeat


async def test_text_binary_and_json_go_both_ways(talking: Talking) -> None:
    async with (
        InvocationsClient(await talking(repeat)).session("s-1") as client,
        client.connect() as connection,
    ):
        await connection.send("héllo")
        assert await connection.receive() == "héllo"
        await connection.send(b"\x00\xff")
        assert await connection.receive() == b"\x00\xff"
        await connection.send_json({"a": 1})
        assert await connection.receive_json() == {"a": 1}
        assert connection.session_id == "s-1"
    assert connection.close_code == 1000


async def test_query_and_headers_reach_the_server(talking: Talking) -> None:
    async def tell(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.send_json(
            [dict(request.query), request.headers.get("x-client-a"), request.headers.get("x-b")]
        )

    async with InvocationsClient(await talking(tell), client_headers={"a": "1"}) as client:
        async with client.connect(query={"v": "2"}, headers={"x-b": "3"}) as connection:
            assert json.loads(await connection.receive()) == [{"v": "2"}, "1", "3"]


async def test_iteration_ends_with_a_normal_close(talking: Talking) -> None:
    async def three(socket: web.WebSocketResponse, _request: web.Request) -> None:
        for word in ("a", "b", "c"):
            await socket.send_str(word)

    async with InvocationsClient(await talking(three)) as client, client.connect() as connection:
        assert [message async for message in connection] == ["a", "b", "c"]
        assert connection.close_code == 1000
        with pytest.raises(ConnectionClosedError, match="code 1000"):
            await connection.send("late")


@pytest.mark.parametrize(("code", "reason"), [(4001, "no more"), (1011, "Internal server error"), (1008, "")])
async def test_any_other_close_is_raised_with_its_code_and_reason_and_answered_with_it(
    talking: Talking, code: int, reason: str
) -> None:
    answered: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def close(socket: web.WebSocketResponse, _request: web.Request) -> None:
        await socket.close(code=code, message=reason.encode())
        answered.set_result(socket.close_code)

    async with InvocationsClient(await talking(close)) as client, client.connect() as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            _ = [message async for message in connection]
        assert (caught.value.code, caught.value.reason) == (code, reason)
        assert (connection.close_code, connection.close_reason) == (code, reason)
        assert caught.value.session_id == connection.session_id
    assert await answered == code


async def test_our_own_close_carries_code_and_reason(talking: Talking) -> None:
    seen: asyncio.Future[tuple[int, str | None]] = asyncio.get_running_loop().create_future()

    async def look(socket: web.WebSocketResponse, _request: web.Request) -> None:
        message = await socket.receive()
        seen.set_result((message.data, message.extra))

    async with InvocationsClient(await talking(look)) as client, client.connect() as connection:
        await connection.close(4002, "done")
    assert await seen == (4002, "done")


async def test_a_server_that_vanishes_is_1006(talking: Talking) -> None:
    async def vanish(_socket: web.WebSocketResponse, request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    async with InvocationsClient(await talking(vanish)) as client, client.connect() as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.receive()
    assert caught.value.code == 1006


async def test_nothing_within_the_time_out_is_a_deadline_error_and_the_connection_lives(
    talking: Talking,
) -> None:
    async with InvocationsClient(await talking(repeat)) as client, client.connect() as connection:
        with pytest.raises(DeadlineError, match=r"within 0\.02 s"):
            await connection.receive(timeout=0.02)
        await connection.send("still here")
        assert await connection.receive() == "still here"
    assert connection.close_code == 1000


async def test_a_message_over_the_limit_closes_with_1009(talking: Talking) -> None:
    async def big(socket: web.WebSocketResponse, _request: web.Request) -> None:
        await socket.send_str("x" * 2000)
        await socket.receive()

    async with InvocationsClient(await talking(big)) as client:
        async with client.connect(max_message_size=1000) as connection:
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.receive()
    assert caught.value.code == 1009


async def test_a_ping_is_answered_while_another_task_receives(talking: Talking) -> None:
    async with (
        InvocationsClient(await talking(repeat)) as client,
        client.connect(heartbeat=None) as connection,
    ):
        receiving = asyncio.create_task(connection.receive())
        assert 0 < await connection.ping(timeout=5) < 5
        await connection.send("x")
        assert await receiving == "x"


async def test_the_servers_pings_are_answered(talking: Talking) -> None:
    async def pinging(socket: web.WebSocketResponse, _request: web.Request) -> None:
        await socket.ping(b"are you there")
        message = await socket.receive()
        await socket.send_str(message.type.name)

    async with InvocationsClient(await talking(pinging)) as client, client.connect() as connection:
        receiving = asyncio.create_task(connection.receive())
        await asyncio.sleep(0)
        await connection.send("after the ping")
        assert await receiving in {"TEXT", "PONG"}


@pytest.mark.parametrize(("status", "kind"), [(401, RefusedError), (403, RefusedError), (404, ResponseError)])
async def test_a_refused_upgrade_is_the_error_it_is(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], status: int, kind: type[ResponseError]
) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/invocations_ws", refuse)
    server = await aiohttp_server(app)
    async with InvocationsClient(server.make_url("/")) as client:
        with pytest.raises(kind) as caught:
            async with client.connect():
                pass
    assert caught.value.status == status


async def test_a_refused_upgrade_carries_code_message_source_and_ids(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]],
) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"error": {"code": "unavailable", "message": "The server is shutting down"}},
            status=503,
            headers={
                "x-platform-error-source": "upstream",
                "x-agent-session-id": "s-9",
                "x-request-id": "r-9",
                "Retry-After": "7",
            },
        )

    app = web.Application()
    app.router.add_get("/invocations_ws", refuse)
    server = await aiohttp_server(app)
    async with InvocationsClient(server.make_url("/")) as client:
        with pytest.raises(ResponseError, match="503 unavailable: The server is shutting down") as caught:
            async with client.connect():
                pass
    error = caught.value
    assert (error.source, error.session_id, error.request_id) == ("upstream", "s-9", "r-9")
    assert error.retry_after == 7.0


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 5000])
async def test_a_close_code_that_no_frame_may_carry_is_refused(talking: Talking, code: int) -> None:
    async with InvocationsClient(await talking(repeat)) as client, client.connect() as connection:
        with pytest.raises(ValueError, match=f"the close code is {code}, but needs to be"):
            await connection.close(code)
        await connection.send("still open")
        assert await connection.receive(5) == "still open"


async def test_a_long_reason_is_cut_between_characters(talking: Talking) -> None:
    reasons: list[str] = []

    async def listen(socket: web.WebSocketResponse, _request: web.Request) -> None:
        message = await socket.receive()
        reasons.append(str(message.extra))

    async with InvocationsClient(await talking(listen)) as client, client.connect() as connection:
        await connection.close(4000, "ä" * 100)
    assert reasons == ["ä" * 61]


async def test_the_callers_active_span_is_the_parent_of_a_connection(talking: Talking) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.trace import use_span

    async def tell(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.send_str(request.headers["traceparent"])

    span = trace.TracerProvider().get_tracer("caller").start_span("caller")
    async with InvocationsClient(await talking(tell)) as client:
        with use_span(span):
            async with client.connect() as connection:
                assert format(span.get_span_context().trace_id, "032x") in str(await connection.receive(5))


async def test_a_ping_that_nobody_answers_is_a_deadline_error(talking: Talking) -> None:
    over = asyncio.Event()

    async def deaf(_socket: web.WebSocketResponse, _request: web.Request) -> None:
        await over.wait()

    async with InvocationsClient(await talking(deaf), timeouts=Timeouts(close=0.1)) as client:
        async with client.connect(heartbeat=None) as connection:
            with pytest.raises(DeadlineError, match=r"no Pong came within 0\.05 s"):
                await connection.ping(timeout=0.05)
    over.set()


async def test_a_peer_that_answers_no_ping_is_gone(talking: Talking) -> None:
    over = asyncio.Event()

    async def deaf(_socket: web.WebSocketResponse, _request: web.Request) -> None:
        await over.wait()

    async with InvocationsClient(await talking(deaf)) as client:
        async with client.connect(heartbeat=0.1) as connection:
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.receive(10)
    over.set()
    assert caught.value.code == 1006


async def test_no_server_is_unreachable(unused_tcp_port: int) -> None:
    async with InvocationsClient(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(UnreachableError):
            async with client.connect():
                pass


async def test_closing_while_another_task_receives_gives_it_the_code_that_was_exchanged(
    talking: Talking,
) -> None:
    async with InvocationsClient(await talking(repeat)) as client, client.connect() as connection:
        receiving = asyncio.create_task(connection.receive())
        await asyncio.sleep(0)
        await connection.close(4003)
        with pytest.raises(ConnectionClosedError) as caught:
            await receiving
    assert caught.value.code == connection.close_code == 1000, "what aiohttp's server answers to any code"
