"""Streams that last: keep-alive comments, readers of every speed, and nothing left behind (section 9)."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler, ServerSentEvent
from tests.http.raw import ask, connected, get, post
from tests.servers import serving

EVENTS = "text/event-stream"
COMMENT = b": keep-alive\n\n"
EVERY_SECOND = {"SSE_KEEPALIVE_INTERVAL": "1"}


class Silent(InvocationHandler):
    """Sends its first part, waits, and sends the rest."""

    def __init__(self) -> None:
        self.proceed = asyncio.Event()

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        kind = await request.text()
        return self.events() if kind == "events" else self.text()

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("first")
        await self.proceed.wait()
        yield ServerSentEvent("last")

    async def text(self) -> AsyncIterator[str]:
        yield "first\n\n"
        await self.proceed.wait()
        yield "last"


async def until(content: Any, part: bytes) -> bytes:
    received = b""
    while part not in received:
        chunk = await asyncio.wait_for(content.readany(), 10)
        assert chunk, f"ended after {received!r}"
        received += chunk
    return received


async def test_a_silent_event_stream_is_kept_alive_again_and_again_and_ends_whole() -> None:
    agent = Silent()
    async with serving(agent, environment=EVERY_SECOND) as client:
        async with client.post("/invocations", data="events") as response:
            received = await until(response.content, COMMENT)
            received += await until(response.content, COMMENT)
            agent.proceed.set()
            received += await response.content.read()
    assert received.count(COMMENT) >= 2
    assert received.replace(COMMENT, b"") == b"data: first\n\ndata: last\n\n"


class Burst(InvocationHandler):
    """Yields many events without waiting, and fails at the end if it is asked to."""

    async def handle(
        self, request: web.Request, context: InvocationContext
    ) -> AsyncIterator[ServerSentEvent]:
        fails = await request.text() == "fail"
        for number in range(3000):
            yield ServerSentEvent("x" * (number % 100) + str(number))
            if number % 1000 == 0:
                await asyncio.sleep(0)
        if fails:
            raise RuntimeError("after the last")


BURST = b"".join(b"data: %b%d\n\n" % (b"x" * (number % 100), number) for number in range(3000))


async def test_events_yielded_without_waiting_arrive_whole_and_in_order() -> None:
    async with serving(Burst()) as client:
        for _ in range(3):
            async with client.post("/invocations") as response:
                assert await response.read() == BURST


async def test_all_that_was_yielded_before_a_failure_arrives_and_the_stream_is_cut() -> None:
    async with serving(Burst()) as client, connected(client) as connection:
        connection.send(post(b"fail"))
        head, _, chunks = (await connection.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        received: list[bytes] = []
        while chunks:
            size, _, chunks = chunks.partition(b"\r\n")
            received.append(chunks[: int(size, 16)])
            chunks = chunks[int(size, 16) + 2 :]
        assert b"".join(received) == BURST
        assert received[-1], "the last chunk says that the stream is whole"


async def test_no_other_stream_gets_comments_and_none_does_when_they_are_off() -> None:
    for kind, environment in (("text", EVERY_SECOND), ("events", {"SSE_KEEPALIVE_INTERVAL": "0"})):
        agent = Silent()
        async with serving(agent, environment=environment) as client:
            async with client.post("/invocations", data=kind) as response:
                await until(response.content, b"first")
                await asyncio.sleep(1.3)
                agent.proceed.set()
                assert COMMENT not in await response.content.read()


async def test_a_client_that_leaves_a_silent_stream_ends_it_without_a_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = asyncio.Event()

    class Waiting(InvocationHandler):
        async def handle(
            self, request: web.Request, context: InvocationContext
        ) -> AsyncIterator[ServerSentEvent]:
            try:
                yield ServerSentEvent("first")
                await asyncio.Event().wait()
            finally:
                ended.set()

    async with serving(Waiting, environment=EVERY_SECOND) as client:
        async with client.post("/invocations") as response:
            await until(response.content, COMMENT)
            response.close()
        await asyncio.wait_for(ended.wait(), 10)
        assert (await ask(client, get("/readiness"))).status == 200
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_event_streams_that_a_handler_writes_itself_are_kept_alive_through_an_application_too() -> None:
    proceed = asyncio.Event()

    class Writing(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": EVENTS})
            await response.prepare(request)
            await response.write(b"data: first\n\n")
            await proceed.wait()
            return response

    def with_app(builder: AgentHostBuilder) -> None:
        assert builder.app is not None

    async with serving(Writing, with_app, environment=EVERY_SECOND) as client:
        async with client.post("/invocations") as response:
            await until(response.content, COMMENT)
            proceed.set()
            await response.content.read()


async def test_a_compressed_event_stream_is_left_alone() -> None:
    proceed = asyncio.Event()

    class Compressing(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": EVENTS})
            response.enable_compression(web.ContentCoding.gzip)
            await response.prepare(request)
            await response.write(b"data: first\n\n")
            await proceed.wait()
            return response

    async with serving(Compressing, environment=EVERY_SECOND) as client:
        async with client.post("/invocations") as response:
            await asyncio.sleep(1.3)
            proceed.set()
            assert gzip.decompress(await response.read()) == b"data: first\n\n"


async def test_a_slow_reader_of_a_long_stream_costs_no_memory() -> None:
    sent = 0

    class Flooding(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(600):
                yield bytes(65536)
                sent += 1

    async with serving(Flooding) as client, connected(client) as connection:
        tracemalloc.start()
        try:
            connection.send(post())
            before = -1
            while sent != before or sent == 0:
                before = sent
                await asyncio.sleep(0.1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert sent < 300, "the handler ran ahead of its reader"
        assert peak < 5_000_000
        received = 0
        while received < 600 * 65536:
            received += len(await asyncio.wait_for(connection.reader.read(1 << 20), 10))
    assert sent >= 599


class Everything(InvocationHandler):
    """Answers in every way there is."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        word = await request.text()
        if word == "fail":
            raise RuntimeError
        if word in ("events", "cut", "sub"):
            return self.events(word)
        return {"word": word}

    async def events(self, word: str) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("a")
        if word == "cut":
            raise RuntimeError
        await asyncio.sleep(0)
        yield ServerSentEvent("b")


@pytest.fixture
def no_log() -> Iterator[None]:
    """Nothing is logged, because pytest keeps every record."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("no_log")
async def test_no_descriptor_task_or_object_is_left_after_any_kind_of_answer() -> None:
    async with serving(Everything, environment=EVERY_SECOND) as client:

        async def everything() -> None:
            requests = [post(b"x"), post(b"fail"), post(b"events"), post(b"x" * 100_000), get("/nope")]
            for request in requests:
                await ask(client, request)
            async with connected(client) as connection:
                connection.send(post(b"cut"))
                await connection.rest()
            async with connected(client) as connection:
                connection.send(b"nonsense\r\n\r\n")
                await connection.rest()

        for _ in range(10):
            await everything()
        tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/dev/fd"))
        tracemalloc.start()
        try:
            for _ in range(5):
                await everything()
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(40):
                await everything()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        # A leak never goes away: the test's own time limit ends this wait.
        while len(asyncio.all_tasks()) > tasks or len(os.listdir("/dev/fd")) > descriptors:
            await asyncio.sleep(0.01)
        # A request alone is 5 kB; cancelled timers, which the loop forgets in batches, are far less.
        assert grown / 40 < 8_000, f"{grown / 40:.0f} bytes a round stay"
