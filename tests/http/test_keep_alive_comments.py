"""Keep-alive comments of event streams: between two events, never in one, never after the last chunk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationHandler
from agentserver._http.pipeline import Pipeline
from agentserver.invocations.server import map_invocations_server
from agentserver.testing import on_socket
from tests.http.raw import ask, connected, get, post

INTERVAL = 0.03  # seconds; the variable has whole ones
COMMENT = b": keep-alive\n\n"


class Writing(InvocationHandler):
    """Writes the parts of the body, a part a line, and waits as long as a number says."""

    async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        length = request.query.get("length")
        if length is not None:
            response.content_length = int(length)
        await response.prepare(request)
        for step in (await request.text()).split("|"):
            try:
                await asyncio.sleep(float(step))
            except ValueError:
                await response.write(step.encode().decode("unicode_escape").encode())
        return response


@asynccontextmanager
async def on_host() -> AsyncGenerator[aiohttp.ClientSession]:
    async with on_socket(Writing) as agent, aiohttp.ClientSession(agent.url) as client:
        yield client


@asynccontextmanager
async def mapped() -> AsyncGenerator[aiohttp.ClientSession]:
    app = web.Application()
    map_invocations_server(app, Writing)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            yield client
    finally:
        await runner.cleanup()


everywhere = pytest.mark.parametrize("serve", [on_host, mapped], ids=["host", "mapped"])


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Pipeline.__init__

    def make(self: Pipeline, **options: Any) -> None:
        options["sse_keepalive"] = INTERVAL
        made(self, **options)

    monkeypatch.setattr(Pipeline, "__init__", make)


@everywhere
async def test_a_stream_that_ends_about_when_a_comment_is_due_ends_once(serve: Any) -> None:
    async with serve() as client, connected(client) as connection:
        for number in range(60):
            pause = INTERVAL - 0.002 + number * 0.0001
            connection.send(post(f"data: a\\n\\n|{pause}".encode()), get("/readiness"))
            assert (await connection.answer()).body.replace(COMMENT, b"") == b"data: a\n\n"
            assert (await connection.answer()).status == 200


@everywhere
@pytest.mark.parametrize(
    "steps",
    [
        ["data: a"],
        ["data: a\n"],
        ["data: a\r\n"],
        ["data: a\n\n", "data: b", ""],
        ["data: a\n\n", "id: 1\n"],
        ["data: a\n\nd"],
    ],
    ids=repr,
)
async def test_no_comment_comes_inside_an_event(serve: Any, steps: list[str]) -> None:
    script = "|".join(step.encode("unicode_escape").decode() for step in steps)
    async with serve() as client:
        answer = await ask(client, post(f"{script}|{4 * INTERVAL}|\\n\\n".encode()))
    assert answer.body == "".join(steps).encode() + b"\n\n"


@everywhere
@pytest.mark.parametrize(
    "steps",
    [
        [],
        ["data: a\n", "\n"],
        ["data: a", "\n", "\n"],
        ["data: a\r\n\r", "\n"],
        ["data: a\r", "\n\r\n"],
        ["data: a\r\r"],
        ["data: a\n\r\n"],
        ["data: a\n\n", ""],
        [": a long comment\n\n", "\n"],
    ],
    ids=repr,
)
async def test_a_comment_comes_after_a_whole_event_however_it_was_written(
    serve: Any, steps: list[str]
) -> None:
    script = "|".join([*(step.encode("unicode_escape").decode() for step in steps), str(2.5 * INTERVAL)])
    async with serve() as client:
        answer = await ask(client, post(f"{script}|data: z\\n\\n".encode()))
    assert answer.body.startswith("".join(steps).encode() + COMMENT)
    assert answer.body.endswith(COMMENT + b"data: z\n\n")


@everywhere
async def test_a_stream_of_an_announced_length_gets_no_comment(serve: Any) -> None:
    async with serve() as client, connected(client) as connection:
        body = f"data: a\\n\\n|{4 * INTERVAL}|data: b\\n\\n".encode()
        connection.send(post(body, path="/invocations?length=18"), get("/readiness"))
        assert (await connection.answer()).body == b"data: a\n\ndata: b\n\n"
        assert (await connection.answer()).status == 200


async def test_a_comment_comes_without_chunks_to_an_http_1_0_client() -> None:
    async with on_host() as client, connected(client) as connection:
        body = f"data: a\\n\\n|{2.5 * INTERVAL}|data: b\\n\\n".encode()
        connection.send(b"POST /invocations HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        rest = (await connection.rest()).partition(b"\r\n\r\n")[2]
    assert rest.replace(COMMENT, b"") == b"data: a\n\ndata: b\n\n"
    assert COMMENT in rest
