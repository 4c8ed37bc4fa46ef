"""A scoped service ends with its request: before a plain answer, after a stream, whoever leaves when."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from agentserver._services.collection import ServiceCollection
from agentserver.errors import InvocationError
from agentserver.invocations.server import map_invocations_server
from tests.http.raw import ask, connected, get, post
from tests.servers import serving

INTERNAL = (500, "internal_error", "upstream")


@dataclass
class Ledger:
    """What a test says about the commit, and what became of it."""

    error: Exception | None = None
    proceed: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    ending: str = ""


class Work:
    """A unit of work that is committed after its request."""


LEDGER: list[Ledger] = []


async def work() -> AsyncIterator[Work]:
    ledger = LEDGER[-1]
    try:
        yield Work()
        ledger.begun.set()
        await ledger.proceed.wait()
        if ledger.error is not None:
            ledger.ending = "failed"
            raise ledger.error
        ledger.ending = "committed"
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        ledger.ending = "cancelled"
        raise
    except InvocationError:
        ledger.ending = "rolled back"
        raise
    finally:
        ledger.ended.set()


class Agent(InvocationHandler):
    """Answers as the body asks."""

    def __init__(self, work: Work) -> None:
        self.work = work

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        word = await request.text()
        if word == "stream":
            return self.words()
        if word == "response":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"ab")
            return response
        if word == "wait":
            await asyncio.Event().wait()
        if word == "refuse":
            raise InvocationError("conflict", "no", status=409)
        return "done"

    async def words(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"


@pytest.fixture
def ledger() -> Ledger:
    LEDGER.append(Ledger())
    return LEDGER[-1]


def configure(builder: AgentHostBuilder) -> None:
    builder.services.add_scoped(Work, work)


def with_app(builder: AgentHostBuilder) -> None:
    configure(builder)
    assert builder.app is not None


@asynccontextmanager
async def mapped() -> AsyncGenerator[aiohttp.ClientSession]:
    """The agent in an application of somebody's own, whose connections are aiohttp's."""
    app = web.Application()
    map_invocations_server(app, Agent, services=ServiceCollection().add_scoped(Work, work))
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await runner.cleanup()


SERVERS: dict[str, Any] = {
    "host": lambda: serving(Agent, configure),
    "app": lambda: serving(Agent, with_app),
    "mapped": mapped,
}
everywhere = pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS.keys())


def statuses(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records if record.name == "agentserver.requests"]
    return [line.split()[2] for line in lines]


async def until_logged(caplog: pytest.LogCaptureFixture) -> str:
    while not statuses(caplog):
        await asyncio.sleep(0.01)
    return statuses(caplog)[0]


@everywhere
async def test_a_plain_answer_waits_for_the_end_of_its_services(serve: Any, ledger: Ledger) -> None:
    async with serve() as client, connected(client) as connection:
        connection.send(post(b"plain"))
        await asyncio.wait_for(ledger.begun.wait(), 10)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(connection.reader.read(1), 0.1)
        ledger.proceed.set()
        assert (await connection.answer()).body == b"done"
        assert ledger.ending == "committed"


@everywhere
async def test_a_commit_that_fails_is_a_500(
    serve: Any, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ledger.error = RuntimeError("secret")
    ledger.proceed.set()
    async with serve() as client, connected(client) as connection:
        connection.send(post(b"plain"))
        assert (await connection.answer()).error == INTERNAL
        connection.send(get("/readiness"))
        assert (await connection.answer()).status == 200
    assert statuses(caplog)[0] == "500"
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "ERROR"] == [True]


@everywhere
async def test_a_commit_may_refuse_in_its_own_words(serve: Any, ledger: Ledger) -> None:
    ledger.error = InvocationError("conflict", "somebody else was faster", status=409)
    ledger.proceed.set()
    async with serve() as client:
        assert (await ask(client, post(b"plain"))).error == (409, "conflict", "user")


@everywhere
async def test_what_a_handler_raises_is_answered_and_its_services_are_told(
    serve: Any, ledger: Ledger
) -> None:
    ledger.proceed.set()
    async with serve() as client:
        assert (await ask(client, post(b"refuse"))).error == (409, "conflict", "user")
    assert ledger.ending == "rolled back"


@everywhere
@pytest.mark.parametrize("kind", [b"stream", b"response"])
async def test_a_client_that_leaves_after_the_last_byte_of_a_stream_cancels_nothing(
    serve: Any, kind: bytes, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve() as client:
        async with connected(client) as connection:
            connection.send(post(kind))
            assert (await connection.answer()).body == b"ab"
        await asyncio.wait_for(ledger.begun.wait(), 10)
        await asyncio.sleep(0.1)
        assert not ledger.ended.is_set()
        ledger.proceed.set()
        await asyncio.wait_for(ledger.ended.wait(), 10)
        assert await until_logged(caplog) == "200"
    assert ledger.ending == "committed"


@everywhere
async def test_a_client_that_leaves_during_the_commit_does_not_cancel_it(
    serve: Any, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve() as client:
        async with connected(client) as connection:
            connection.send(post(b"plain"))
            await asyncio.wait_for(ledger.begun.wait(), 10)
        await asyncio.sleep(0.1)
        ledger.proceed.set()
        await asyncio.wait_for(ledger.ended.wait(), 10)
        await until_logged(caplog)
        assert (await ask(client, get("/readiness"))).status == 200
    assert ledger.ending == "committed"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@everywhere
async def test_a_client_that_leaves_while_the_handler_runs_cancels_both(
    serve: Any, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve() as client:
        async with connected(client) as connection:
            connection.send(post(b"wait"))
            await connection.writer.drain()
            await asyncio.sleep(0.1)
        await asyncio.wait_for(ledger.ended.wait(), 10)
        assert await until_logged(caplog) == "499"
    assert ledger.ending == "cancelled"


@everywhere
async def test_a_commit_that_fails_after_a_stream_is_logged_and_the_status_stays_what_was_sent(
    serve: Any, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ledger.error = RuntimeError("after all")
    ledger.proceed.set()
    async with serve() as client:
        assert (await ask(client, post(b"stream"))).body == b"ab"
        assert await until_logged(caplog) == "200"
    assert "after all" in caplog.text


async def test_a_commit_that_does_not_end_is_cancelled_with_the_shutdown_time_out(ledger: Ledger) -> None:
    def short(builder: AgentHostBuilder) -> None:
        configure(builder)
        builder.configure(shutdown_timeout=0.2)

    async with serving(Agent, short) as client:
        async with connected(client) as connection:
            connection.send(post(b"stream"))
            assert (await connection.answer()).body == b"ab"
        await asyncio.wait_for(ledger.begun.wait(), 10)
    assert ledger.ending == "cancelled"
