"""What HTTP/1.0 clients get: no interim answers, and no broken stream that looks whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from tests.http.loops import on_both_loops, run_on
from tests.http.raw import connected
from tests.servers import serving


class Failing(InvocationHandler):
    """Streams, and fails after its first part if it is asked to."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        word = await request.text()
        if word == "announced":
            response = web.StreamResponse(headers={"Content-Length": "10"})
            await response.prepare(request)
            await response.write(b"first")
            raise RuntimeError
        return self.words(word)

    async def words(self, word: str) -> AsyncIterator[str]:
        yield "first"
        if word == "fail":
            raise RuntimeError
        if word == "forever":
            await asyncio.Event().wait()
        yield "last"


def with_app(builder: AgentHostBuilder) -> None:
    assert builder.app is not None


def request(body: bytes, *headers: str, version: str = "1.0") -> bytes:
    lines = [f"POST /invocations HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


everywhere = pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])


@on_both_loops
@everywhere
def test_a_stream_that_fails_ends_with_a_reset(loop_name: str, configure: Any) -> None:
    async def main() -> None:
        async with serving(Failing, configure) as client, connected(client) as connection:
            connection.send(request(b"fail"))
            received = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\nfirst"), 10)
            assert b"chunked" not in received
            with pytest.raises(ConnectionResetError):
                await connection.rest()

    run_on(loop_name, main())


@on_both_loops
def test_a_stream_that_the_end_of_the_process_cuts_ends_with_a_reset(loop_name: str) -> None:
    def short(builder: AgentHostBuilder) -> None:
        builder.configure(shutdown_timeout=0.1)

    async def main() -> None:
        async with serving(Failing, short) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", client._base_url.port)  # type: ignore[union-attr]  # it has one
            writer.write(request(b"forever"))
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\nfirst"), 10)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()

    run_on(loop_name, main())


@everywhere
async def test_a_stream_that_is_whole_ends_with_its_connection(configure: Any) -> None:
    async with serving(Failing, configure) as client, connected(client) as connection:
        connection.send(request(b"fine"))
        assert (await connection.rest()).endswith(b"\r\n\r\nfirstlast")


@everywhere
@pytest.mark.parametrize(
    ("word", "version"), [(b"announced", "1.0"), (b"announced", "1.1"), (b"fail", "1.1")]
)
async def test_what_tells_that_it_is_cut_is_not_reset(word: bytes, version: str, configure: Any) -> None:
    async with serving(Failing, configure) as client, connected(client) as connection:
        connection.send(request(word, version=version))
        rest = await connection.rest()
    assert rest.endswith(b"first" if word == b"announced" else b"5\r\nfirst\r\n")


@everywhere
async def test_an_expectation_is_met_for_http_1_1_alone(configure: Any) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    for version in ("1.0", "1.1"):
        async with serving(Failing, configure) as client, connected(client) as connection:
            connection.send(request(b"fine", "Expect: 100-continue", "Connection: close", version=version))
            rest = await connection.rest()
        assert rest.startswith(interim) == (version == "1.1")
        assert rest.removeprefix(interim).startswith(f"HTTP/{version} 200 ".encode())
