"""A client that goes away: its handler is cancelled, or may finish; nothing is left behind (section 4)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from tests.http.raw import ask, connected, get, port_of, post
from tests.servers import serving


class Watched(InvocationHandler):
    """Says how each of its methods began and ended."""

    def __init__(self) -> None:
        self.proceed = asyncio.Event()
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.ending = ""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        word = await request.text()
        if word == "stream":
            return self.flood()
        if word == "response":
            return await self.respond(request)
        return await self.watch(self.wait)

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return await self.watch(self.wait)

    async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return await self.watch(self.wait)

    async def wait(self) -> str:
        await self.proceed.wait()
        return "done"

    async def watch(self, work: Callable[[], Any]) -> Any:
        self.started.set()
        try:
            result = await work()
        except asyncio.CancelledError:
            self.ending = "cancelled"
            raise
        else:
            self.ending = "finished"
            return result
        finally:
            self.ended.set()

    async def flood(self) -> AsyncIterator[bytes]:
        try:
            while not self.proceed.is_set():
                yield b"x" * 1000
                self.started.set()
                await asyncio.sleep(0.001)
            self.ending = "finished"
        except asyncio.CancelledError:
            self.ending = "cancelled"
            raise
        except GeneratorExit:
            self.ending = "closed"
            raise
        finally:
            self.ended.set()

    async def respond(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)

        async def write() -> None:
            while not self.proceed.is_set():
                await response.write(b"x" * 1000)
                await asyncio.sleep(0.001)

        await self.watch(write)
        return response


def keep_running(builder: AgentHostBuilder) -> None:
    builder.configure(cancel_on_disconnect=False)


def with_app(builder: AgentHostBuilder) -> None:
    assert builder.app is not None


async def leave_during(client: aiohttp.ClientSession, agent: Watched, request: bytes) -> None:
    async with connected(client) as connection:
        connection.send(request)
        await asyncio.wait_for(agent.started.wait(), 10)


REQUESTS = {
    "handle": post(b"wait"),
    "get": get("/invocations/inv-1"),
    "cancel": post(path="/invocations/inv-1/cancel"),
    "a stream response": post(b"response"),
}


@pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])
@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_client_that_leaves_cancels_what_serves_it(request_bytes: bytes, configure: Any) -> None:
    agent = Watched()
    async with serving(agent, configure) as client:
        await leave_during(client, agent, request_bytes)
        await asyncio.wait_for(agent.ended.wait(), 10)
        assert agent.ending == "cancelled"
        assert (await ask(client, get("/readiness"))).status == 200


async def test_a_client_that_leaves_a_stream_ends_the_generator_at_once() -> None:
    agent = Watched()
    async with serving(agent) as client:
        await leave_during(client, agent, post(b"stream"))
        await asyncio.wait_for(agent.ended.wait(), 10)
        assert agent.ending in ("cancelled", "closed")


@pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])
async def test_with_the_option_the_handler_finishes_although_its_client_left(configure: Any) -> None:
    def options(builder: AgentHostBuilder) -> None:
        keep_running(builder)
        if configure is not None:
            configure(builder)

    agent = Watched()
    async with serving(agent, options) as client:
        await leave_during(client, agent, post(b"wait"))
        assert (await ask(client, get("/readiness"))).status == 200
        agent.proceed.set()
        await asyncio.wait_for(agent.ended.wait(), 10)
        assert agent.ending == "finished"


async def test_with_the_option_a_stream_ends_at_its_next_item_all_the_same() -> None:
    agent = Watched()
    async with serving(agent, keep_running) as client:
        await leave_during(client, agent, post(b"stream"))
        await asyncio.wait_for(agent.ended.wait(), 10)


async def test_a_client_that_left_is_logged_as_such_and_not_as_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    for request in (post(b"wait"), post(b"stream"), post(b"response")):
        agent = Watched()
        async with serving(agent) as client:
            await leave_during(client, agent, request)
            await asyncio.wait_for(agent.ended.wait(), 10)
    lines = [record for record in caplog.records if record.name == "agentserver.requests"]
    assert ["POST /invocations 499" in line.getMessage() for line in lines] == [True] * 3
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_handler_may_clean_up_after_its_client_left() -> None:
    cleaned = asyncio.Event()
    started = asyncio.Event()

    class Tidy(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.01)
                cleaned.set()

    async with serving(Tidy) as client:
        async with connected(client) as connection:
            connection.send(post())
            await asyncio.wait_for(started.wait(), 10)
        await asyncio.wait_for(cleaned.wait(), 10)


async def test_clients_that_leave_at_any_point_leave_no_descriptor_and_no_task_behind() -> None:
    class Slow(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[str]:
            yield await request.text()
            await asyncio.sleep(0.01)
            yield "end"

    whole = post(b"x" * 500)
    async with serving(Slow) as client:
        assert (await ask(client, whole)).status == 200
        port = port_of(client)
        tasks, descriptors = len(asyncio.all_tasks()), open_descriptors()
        for length in range(0, len(whole) + 1, 7):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(whole[:length])
            await asyncio.sleep(0)
            if length % 2:
                writer.transport.abort()
            writer.close()
        # A leak never goes away: the test's own time limit ends this wait.
        while len(asyncio.all_tasks()) > tasks or open_descriptors() > descriptors:
            await asyncio.sleep(0.01)
        assert (await ask(client, whole)).status == 200


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))
