"""The end of the process comes, whatever is left: what ignores it, what blocks it, what handlers started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.servers import ServerProcess, running

MODULE = ("-m", "tests.agents")
TIMEOUT = "AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS"
# The agent without uvloop, on a loop that knows no signals, as Windows' does not.
WITHOUT_SIGNALS = """
import asyncio, runpy, sys

def add_signal_handler(*_arguments):
    raise NotImplementedError

asyncio.SelectorEventLoop.add_signal_handler = add_signal_handler
sys.modules["uvloop"] = None
runpy.run_module("tests.agents", run_name="__main__")
"""
IN_A_THREAD = """
import threading
from agentserver import AgentHost
from tests.agents import ObedientHandler

host = AgentHost.create_builder().add_invocations(ObedientHandler).build()
threading.Thread(target=host.run, daemon=True).start()
threading.Event().wait()
"""


@asynccontextmanager
async def agent(
    *arguments: str | Path, timeout: str = "0.2"
) -> AsyncGenerator[tuple[ServerProcess, aiohttp.ClientSession]]:
    async with (
        running(*(arguments or MODULE), environment={TIMEOUT: timeout}) as server,
        aiohttp.ClientSession(server.url) as client,
    ):
        yield server, client


async def say(client: aiohttp.ClientSession, words: str) -> tuple[int, str]:
    async with client.post("/invocations", data=words) as response:
        return response.status, await response.text()


async def ends_within(server: ServerProcess, seconds: float) -> int:
    begun = time.monotonic()
    code = await server.exit_code()
    assert time.monotonic() - begun < seconds
    return code


async def test_a_handler_that_ignores_its_cancellation_does_not_keep_the_process() -> None:
    async with agent() as (server, client):
        request = asyncio.create_task(say(client, "stubborn"))
        await server.until_logged("stubborn")
        server.terminate()
        assert await ends_within(server, 20) == 0
        with pytest.raises(aiohttp.ClientError):
            await request
    log = "".join(server.log)
    assert "1 of them ignored it and still run" in log
    assert "ending without 1 tasks that ignored their cancellation" in log
    assert "Traceback" not in log
    assert "destroyed" not in log


async def test_a_second_signal_ends_the_process_while_a_handler_blocks_the_loop() -> None:
    async with agent() as (server, client):
        request = asyncio.create_task(say(client, "block 60"))
        await server.until_logged("blocking")
        server.terminate()
        await asyncio.sleep(0.2)  # two signals of one kind that come at once are one
        server.terminate()
        assert await ends_within(server, 5) == 130
        with pytest.raises(aiohttp.ClientError):
            await request


async def test_a_first_signal_while_a_handler_blocks_the_loop_is_heard_afterwards() -> None:
    async with agent(timeout="10") as (server, client):
        request = asyncio.create_task(say(client, "block 1"))
        await server.until_logged("blocking")
        server.terminate()
        assert await request == (200, "block done")
        assert await ends_within(server, 20) == 0


@pytest.mark.parametrize("kind", ["long", "failing"])
async def test_a_task_that_a_handler_left_is_cancelled_and_awaited(kind: str) -> None:
    async with agent() as (server, client):
        assert (await say(client, f"leave-task {kind}"))[0] == 200
        await server.until_logged("task started")
        server.terminate()
        assert await ends_within(server, 10) == 0
    log = "".join(server.log)
    assert "task cleaned up" in log
    assert ("it failed while it cleaned up" in log) == (kind == "failing")
    assert "destroyed" not in log


async def test_what_was_spawned_is_waited_for_within_the_time_out() -> None:
    async with agent(timeout="30") as (server, client):
        assert (await say(client, "spawn short"))[0] == 200
        await server.until_logged("task started")
        server.terminate()
        assert await ends_within(server, 20) == 0
    assert "task done" in "".join(server.log)
    assert "shutting down: 1 requests in flight" in "".join(server.log)


async def test_what_was_spawned_is_cancelled_after_the_time_out() -> None:
    async with agent() as (server, client):
        assert (await say(client, "spawn long"))[0] == 200
        await server.until_logged("task started")
        server.terminate()
        assert await ends_within(server, 10) == 0
    log = "".join(server.log)
    assert "task cleaned up" in log
    assert "1 spawned tasks were cancelled after the shutdown time-out" in log


async def test_a_thread_that_is_done_is_not_said_to_be_busy() -> None:
    async with agent() as (server, client):
        assert (await say(client, "thread 0.01"))[0] == 200
        server.terminate()
        assert await ends_within(server, 10) == 0
    assert "busy" not in "".join(server.log)


async def test_a_loop_without_signal_handlers_is_stopped_by_signals_all_the_same() -> None:
    async with agent("-c", WITHOUT_SIGNALS, timeout="10") as (server, client):
        request = asyncio.create_task(say(client, "wind-down"))
        while (await say(client, "count"))[1] != "1":
            await asyncio.sleep(0.01)
        server.terminate()
        assert await request == (200, "wound down")
        assert await ends_within(server, 10) == 0


async def test_a_host_serves_in_a_thread_where_signals_are_somebody_elses() -> None:
    async with agent("-c", IN_A_THREAD) as (server, client):
        assert await say(client, "hello") == (200, "hello done")
        server.terminate()
        assert await server.exit_code() == -15
