"""``context.spawn``: work that outlasts its request, and still belongs to it in the log."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Generator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import (
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    map_invocations_server,
)
from agentserver._telemetry.log_format import JsonFormatter
from agentserver.testing import until
from tests.http.raw import ask, connected, post
from tests.servers import serving

IDS = ("x-agent-invocation-id: inv-1",)


@pytest.fixture
def log() -> Generator[io.StringIO]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


def records(log: io.StringIO, text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines() if text in line]


class Spawns(InvocationHandler):
    """Answers at once; what it has spawned goes on when it is let."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.ended = asyncio.Event()
        self.error: BaseException | None = None

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        task = context.spawn(self.work())
        if "wait" in request.query:
            await asyncio.Event().wait()
        return task.get_name()

    async def work(self) -> None:
        try:
            await self.go_on.wait()
            logging.getLogger("mine").warning("the work is done")
            if self.error is not None:
                raise self.error
        finally:
            self.ended.set()


async def test_it_goes_on_after_the_answer_with_the_ids_of_its_invocation(log: io.StringIO) -> None:
    handler = Spawns()
    async with serving(handler) as client:
        answer = await ask(client, post(b"", *IDS, path="/invocations?agent_session_id=s-1"))
        assert answer.body == b"Spawns.work"
        handler.go_on.set()
        await asyncio.wait_for(handler.ended.wait(), 10)
    (record,) = records(log, "the work is done")
    assert (record["invocation_id"], record["session_id"]) == ("inv-1", "s-1")
    assert record["request_id"] == answer.headers["x-request-id"]


async def test_a_client_that_leaves_does_not_cancel_it(log: io.StringIO) -> None:
    handler = Spawns()
    async with serving(handler) as client:
        async with connected(client) as connection:
            connection.send(post(path="/invocations?wait"))
            await connection.writer.drain()
            await asyncio.sleep(0.1)
        handler.go_on.set()
        await asyncio.wait_for(handler.ended.wait(), 10)
    assert records(log, "the work is done")


@pytest.mark.parametrize("error", [ValueError("it broke"), SystemExit(3)])
async def test_its_error_is_logged_with_the_ids_and_ends_nothing(
    error: BaseException, log: io.StringIO
) -> None:
    handler = Spawns()
    handler.error = error
    async with serving(handler) as client:
        await ask(client, post(b"", *IDS))
        handler.go_on.set()
        await until(lambda: bool(records(log, "Spawns.work failed")), what="the error in the log")
        assert (await ask(client, post())).status == 200
    record = records(log, "Spawns.work failed")[0]
    assert (record["invocation_id"], record["level"]) == ("inv-1", "ERROR")
    assert ("it broke" if isinstance(error, ValueError) else "sys.exit(3)") in record["exception"]


async def test_the_end_of_the_host_waits_for_it_and_then_cancels_it(log: io.StringIO) -> None:
    handler = Spawns()
    async with serving(handler, lambda builder: builder.configure(shutdown_timeout=0.1)) as client:
        await ask(client, post())
    assert handler.ended.is_set()
    assert records(log, "1 spawned tasks were cancelled")
    handler = Spawns()
    async with serving(handler) as client:
        await ask(client, post())
        asyncio.get_running_loop().call_later(0.2, handler.go_on.set)
    assert handler.ended.is_set()
    assert len(records(log, "spawned tasks were cancelled")) == 1


async def test_an_application_of_ones_own_waits_for_it_too(log: io.StringIO) -> None:
    handler = Spawns()
    app = web.Application()
    map_invocations_server(app, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        await ask(client, post())
    asyncio.get_running_loop().call_later(0.2, handler.go_on.set)
    await runner.cleanup()
    assert handler.ended.is_set()
    assert records(log, "the work is done")


async def test_it_outlasts_a_websocket() -> None:
    spawned: list[asyncio.Task[str]] = []
    go_on = asyncio.Event()

    class Socket(InvocationWebSocketHandler):
        async def handle_websocket(
            self, websocket: web.WebSocketResponse, context: InvocationContext
        ) -> None:
            spawned.append(context.spawn(self.work()))

        async def work(self) -> str:
            await go_on.wait()
            return "done"

    async with serving(Socket) as client:
        async with client.ws_connect("/invocations_ws") as websocket:
            assert (await websocket.receive()).type is aiohttp.WSMsgType.CLOSE
        go_on.set()
        assert await spawned[0] == "done"


async def test_without_a_server_it_is_a_plain_task() -> None:
    context = InvocationContext(invocation_id="inv-1", session_id="s-1")
    done = asyncio.Event()

    async def work() -> int:
        done.set()
        return 7

    task = context.spawn(work(), name="mine")
    assert (await task, task.get_name(), done.is_set()) == (7, "mine", True)


@pytest.mark.parametrize("wrong", [asyncio.sleep, sys, 3])
async def test_what_is_no_coroutine_is_told_so(wrong: Any) -> None:
    context = InvocationContext(invocation_id="inv-1", session_id="s-1")
    with pytest.raises(TypeError, match="takes a coroutine, such as"):
        _ = context.spawn(wrong)
