"""Clients that reset their connection: at whatever moment they do, it is not the agent that has failed."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from tests.http.loops import on_both_loops, run_on
from tests.http.raw import ask, get, port_of, post
from tests.servers import serving


class Busy(InvocationHandler):
    """Answers in the way that the query says."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        kind = request.query.get("kind")
        if kind == "stream":
            return self.parts()
        if kind == "response":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(300):
                await response.write(b"x" * 1000)
                await asyncio.sleep(0)
            return response
        await asyncio.sleep(0)
        return str(len(await request.read()))

    async def parts(self) -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x" * 1000
            await asyncio.sleep(0)


WAYS = {
    "amid a pipeline": [post(b"x" * 50_000)] * 20,
    "amid a pipeline of streams": [post(path="/invocations?kind=stream")] * 20,
    "amid a stream": [post(path="/invocations?kind=stream")],
    "amid a response": [post(path="/invocations?kind=response")],
    "amid a body": [post(b"x" * 300_000)[:-100_000]],
    "behind a request, amid a body": [post(b"a"), post(b"x" * 300_000)[:-100_000]],
}


def patient(builder: AgentHostBuilder) -> None:
    builder.configure(cancel_on_disconnect=False)


def with_app(builder: AgentHostBuilder) -> None:
    assert builder.app is not None


@on_both_loops
@pytest.mark.parametrize("configure", [None, patient, with_app], ids=["host", "patient", "app"])
@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_resets_is_logged_as_one_that_left(
    way: str, configure: Any, loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with serving(Busy, configure) as client:
            port = port_of(client)
            for number in range(15):
                await leave(port, WAYS[way], turns=number)
            assert (await ask(client, get("/readiness"))).status == 200

    run_on(loop_name, main())
    errors = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not errors, errors[0]
    lines = [record.getMessage() for record in caplog.records if record.name == "agentserver.requests"]
    assert {line.split()[2] for line in lines} <= {"200", "499"}


async def leave(port: int, requests: list[bytes], turns: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.write(b"".join(requests))
    if turns % 3 == 0:
        await asyncio.wait([asyncio.ensure_future(reader.read(10))], timeout=0.05)
    for _ in range(turns):
        await asyncio.sleep(0)
    writer.transport.abort()
    await asyncio.sleep(0)
