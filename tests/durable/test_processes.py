"""Durable agents as processes: killed, stopped in order, and two on one file."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agentserver.testing import ServerProcess, run_server
from tests.durable.chaos import rounds
from tests.durable.judge import DatabaseStore, FileStore, Store
from tests.durable.postgres import shared_server
from tests.servers import ROOT

_schemas = count(1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return FileStore(tmp_path / "runs.sqlite3")
    return DatabaseStore(shared_server(), f"processes_{next(_schemas)}")


def agent(store: Path | str, *, wait: bool = True) -> Any:
    environment = {"AGENTSERVER_STORE": str(store)}
    return run_server("-m", "tests.durable.agents", "Worker", environment=environment, cwd=ROOT, wait=wait)


async def told_of(server: ServerProcess, name: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession(server.url) as client,
        client.get(f"/invocations/{name}") as response,
    ):
        told: dict[str, Any] = await response.json()
        return told


async def until_ended(server: ServerProcess, name: str) -> dict[str, Any]:
    while (told := await told_of(server, name))["status"] == "in_progress":
        await asyncio.sleep(0.02)
    return told


async def begin(server: ServerProcess, name: str, task: dict[str, Any]) -> int:
    headers = {"x-agent-invocation-id": name}
    async with (
        aiohttp.ClientSession(server.url) as client,
        client.post("/invocations", json=task, headers=headers) as response,
    ):
        return response.status


async def test_a_few_kills_at_random_moments_lose_nothing(store: Store, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    found = await rounds(store, tmp_path, 5, seed)
    assert found["runs"] > 0


async def test_a_reader_goes_on_where_it_was_over_the_death_of_the_process(store: Store) -> None:
    async with agent(store.address) as server:
        await begin(server, "a", {"steps": 5, "approval": True})
        read = b""
        async with (
            aiohttp.ClientSession(server.url) as client,
            client.get("/invocations/a", headers={"Accept": "text/event-stream"}) as response,
        ):
            while b"id: 6\n" not in read:
                read += await response.content.readany()
        server.process.kill()
        await server.process.wait()
    async with agent(store.address) as server:
        async with aiohttp.ClientSession(server.url) as client:
            async with client.post(
                "/invocations/a/signal", json={"name": "approval", "payload": 1}
            ) as response:
                assert response.status == 202
            headers = {"Accept": "text/event-stream", "Last-Event-ID": "6"}
            async with client.get("/invocations/a", headers=headers) as response:
                rest = await response.text()
    ids = [line for line in (read.decode() + rest).split("\n") if line.startswith("id: ")]
    assert ids == [f"id: {number}" for number in range(1, 9)]
    assert rest.count("event: recovered") == 1
    assert rest.rstrip().split("\n\n")[-1].startswith("event: done")


async def test_a_process_that_is_told_to_end_leaves_its_runs_and_its_readers_to_the_next(
    store: Store,
) -> None:
    async with agent(store.address) as server:
        await begin(server, "a", {"steps": 2, "approval": True})
        async with (
            aiohttp.ClientSession(server.url) as client,
            client.get("/invocations/a", headers={"Accept": "text/event-stream"}) as response,
        ):
            await response.content.readuntil(b"id: 3\n")
            server.terminate(signal.SIGTERM)
            assert "event: reconnect" in await response.text()
        assert await server.exit_code() == 0
    async with agent(store.address) as server:
        assert (await told_of(server, "a"))["status"] == "in_progress"
        async with (
            aiohttp.ClientSession(server.url) as client,
            client.post("/invocations/a/signal", json={"name": "approval"}),
        ):
            told = await until_ended(server, "a")
    assert (told["status"], told["attempt"], told["recoveries"]) == ("completed", 1, 1)


async def test_of_two_processes_on_one_file_the_second_waits_and_takes_over(tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite3"
    async with agent(store) as first, agent(store) as second:
        servers = [first, second]
        statuses = [await begin(server, f"r{n}", {"approval": True}) for n, server in enumerate(servers)]
        assert sorted(statuses) == [202, 503]
        owner, other = servers if statuses[0] == 202 else reversed(servers)
        async with aiohttp.ClientSession(other.url) as client:
            async with client.get("/readiness") as response:
                assert response.status == 503
            os.kill(owner.process.pid, signal.SIGKILL)
            killed = asyncio.get_running_loop().time()
            while True:
                async with client.get("/readiness") as response:
                    if response.status == 200:
                        break
                await asyncio.sleep(0.02)
            assert asyncio.get_running_loop().time() - killed < 5
        name = f"r{statuses.index(202)}"
        while (await told_of(other, name))["recoveries"] != 1:
            await asyncio.sleep(0.02)


async def test_a_file_that_cannot_be_a_store_is_one_line_that_says_so(tmp_path: Path) -> None:
    garbage, foreign, later = tmp_path / "garbage", tmp_path / "foreign", tmp_path / "later"
    garbage.write_bytes(os.urandom(4096))
    for path, version, application in ((foreign, 0, 0), (later, 99, 0x61677372)):
        file = sqlite3.connect(path)
        file.executescript(
            f"CREATE TABLE t (x); PRAGMA user_version={version}; PRAGMA application_id={application};"
        )
        file.close()
    folder = tmp_path / "folder"
    folder.mkdir()
    for path, sentence in (
        (garbage, "cannot be used as a store"),
        (foreign, "is no store of agentserver"),
        (later, "is of a later version of agentserver (99"),
        (folder, "cannot be written"),
    ):
        async with agent(path, wait=False) as server:
            assert await server.exit_code() == 2
            assert sentence in "".join(server.log)
            assert "Traceback" not in "".join(server.log)
