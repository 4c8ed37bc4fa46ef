"""Three agents on one PostgreSQL store: one is killed, one is frozen, one finishes everything."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentserver.testing import ServerProcess, run_server
from tests.durable.harness import timeout
from tests.durable.judge import DatabaseStore, look
from tests.durable.postgres import shared_server
from tests.servers import ROOT

RUNS, STEPS, PARTS = 100, 6, 3
SECONDS = 15.0


def agent(store: DatabaseStore) -> Any:
    environment = {"AGENTSERVER_STORE": store.address, "AGENTSERVER_LOG_LEVEL": "ERROR"}
    return run_server("-m", "tests.durable.agents", "Effects", environment=environment, cwd=ROOT)


async def begin(servers: list[ServerProcess], effects: Path) -> list[str]:
    """That many runs, asked of each in turn."""
    task = {"file": str(effects), "steps": STEPS, "parts": PARTS, "pause": 0.25}
    async with aiohttp.ClientSession() as client:

        async def post(number: int) -> str:
            url = servers[number % len(servers)].url
            async with client.post(f"{url}/invocations", json=task) as response:
                assert response.status == 202
                return str((await response.json())["invocation_id"])

        return await asyncio.gather(*(post(number) for number in range(RUNS)))


async def until_finished(server: ServerProcess) -> float:
    """The seconds until no run is in progress."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    async with aiohttp.ClientSession(server.url) as client:
        while True:
            async with client.get("/invocations?status=in_progress&limit=1") as response:
                if not (await response.json())["runs"]:
                    return loop.time() - since
            await asyncio.sleep(0.05)


async def until_steps(store: DatabaseStore, count: int) -> None:
    while (await store.rows("SELECT count(*) FROM steps"))[0][0] < count:
        await asyncio.sleep(0.02)


@pytest.mark.postgres
async def test_what_a_killed_and_a_frozen_replica_had_begun_the_third_finishes_in_time(
    tmp_path: Path,
) -> None:
    store = DatabaseStore(shared_server(), "three")
    effects = tmp_path / "effects.txt"
    async with AsyncExitStack() as stack:
        starting = [stack.enter_async_context(agent(store)) for _ in range(3)]
        killed, frozen, third = await asyncio.gather(*starting)
        _ = await begin([killed, frozen, third], effects)
        await until_steps(store, RUNS)
        killed.process.kill()
        os.kill(frozen.process.pid, signal.SIGSTOP)
        seconds = await until_finished(third)
        os.kill(frozen.process.pid, signal.SIGCONT)
        # It serves reads, and says what was refused.
        assert await until_finished(frozen) < SECONDS
        async with timeout():
            while not any("cannot be recorded further" in line for line in frozen.log):
                await asyncio.sleep(0.02)
        refused = sum("cannot be recorded further" in line for line in frozen.log)
        lines = await asyncio.to_thread(effects.read_text)
        names, found = await look(store, lines.splitlines(), STEPS, PARTS)
    print("finished after", round(seconds, 1), "s;", refused, "runs refused to the frozen one;", found)
    assert seconds < SECONDS
    assert len(names) == RUNS
    assert found["most"] <= 2
    assert refused
