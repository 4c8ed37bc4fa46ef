"""Requests on the wire: connections that do not come about, break, or take too long."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from aiohttp import web

from agentserver.client import (
    NO_RETRY,
    DeadlineError,
    InvocationsClient,
    LostConnectionError,
    ResponseError,
    Retry,
    Timeouts,
    UnreachableError,
)
from tests.client.servers import Routes, Scripted, Serve, never


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_no_server_is_one_sentence_with_the_address() -> None:
    port = unused_port()
    retry = Retry(attempts=2, first_delay=0)
    async with InvocationsClient(f"http://127.0.0.1:{port}", retry=retry) as client:
        with pytest.raises(UnreachableError, match=rf"No server answers at http://127.0.0.1:{port}: Connect"):
            await client.invoke("x")
        assert await client.ready() is False


async def test_an_answer_that_does_not_come_is_a_deadline_error_with_the_id(routes: Routes) -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with InvocationsClient(await routes(post=never)) as client:
        with pytest.raises(DeadlineError) as caught:
            await client.invoke("x", invocation_id="i-2", timeout=0.05)
    assert caught.value.invocation_id == "i-2"
    assert isinstance(caught.value, TimeoutError)


async def test_no_attempt_is_waited_for_beyond_the_time_out_of_the_call(serve: Serve) -> None:
    server = Scripted((503, "100"))
    retry = Retry(attempts=100, max_delay=1000)
    async with InvocationsClient(await serve(server.answer), retry=retry) as client:
        started = time.monotonic()
        with pytest.raises(ResponseError):
            await client.get("i-1", timeout=60)
    assert server.asked == 1
    assert time.monotonic() - started < 50


async def test_a_later_attempt_has_what_the_earlier_ones_left_of_the_time_out(serve: Serve) -> None:
    asked = 0

    async def first_busy_then_silent(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=503, headers={"Retry-After": "2"}) if asked == 1 else await never(request)

    async with InvocationsClient(await serve(first_busy_then_silent)) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            await client.get("i-1", timeout=3)
        assert 2.9 < time.monotonic() - started < 4.6
    assert asked == 2


async def test_an_upgrade_that_is_not_answered_ends_at_the_time_out(serve: Serve) -> None:
    async with InvocationsClient(await serve(never), timeouts=Timeouts(connect=0.1)) as client:
        with pytest.raises(DeadlineError):
            async with client.connect():
                pass


async def test_a_server_without_tls_is_no_secure_connection(serve: Serve) -> None:
    url = (await serve(never)).replace("http:", "https:")
    async with InvocationsClient(url, retry=NO_RETRY) as client:
        with pytest.raises(UnreachableError, match=rf"No secure connection to {url.rstrip('/')}: \w+"):
            await client.invoke("x")


@pytest.mark.parametrize("websocket", [True, False])
async def test_what_speaks_no_http_is_not_taken_for_a_server(websocket: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, InvocationsClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(LostConnectionError, match="broke the protocol: is it the agent's address"):
            await (client.connect().__aenter__() if websocket else client.invoke("x"))


@pytest.mark.parametrize(("cut", "kind"), [(True, LostConnectionError), (False, DeadlineError)])
async def test_an_answer_that_stops_half_way_is_no_answer(
    serve: Serve, cut: bool, kind: type[Exception]
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        if cut:
            assert request.transport is not None
            request.transport.close()
        else:
            await asyncio.Event().wait()
        return response

    async with InvocationsClient(await serve(half)) as client:
        with pytest.raises(kind):
            await client.invoke("x", timeout=30 if cut else 0.2)


async def test_a_redirect_is_not_followed_and_says_where_it_leads(serve: Serve) -> None:
    async def elsewhere(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("http://elsewhere.example/")

    async with InvocationsClient(await serve(elsewhere)) as client:
        with pytest.raises(ResponseError, match=r"redirects to http://elsewhere\.example/: use that address"):
            await client.invoke("x")
