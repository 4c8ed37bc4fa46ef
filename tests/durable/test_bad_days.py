"""A full disk, readers that stall: no run is lost, and nobody else is kept waiting."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agentserver.durable._records import Status
from agentserver.durable._runs import Runs
from agentserver.durable._sqlite import SqliteEngine
from agentserver.durable.run import Run
from tests.durable.agents import Worker
from tests.durable.harness import FAST, Process, World, values
from tests.servers import serving


async def limit_pages(runs: Runs, most: int) -> None:
    """Have the file be full at *most* pages; 0 is as many as it has."""
    engine = runs._engine
    assert isinstance(engine, SqliteEngine)
    await engine._call(
        lambda file: file.execute(
            f"PRAGMA max_page_count = {most or file.execute('PRAGMA page_count').fetchone()[0]}"
        ).fetchone()
    )


async def test_runs_wait_for_a_full_disk_and_go_on_when_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()

    async def body(run: Run, _value: Any) -> int:
        await run.step("wait", gate.wait)
        for number in range(20):
            await run.step("long", lambda: "x" * 3000)
            await run.emit(number)
        return 20

    runs = Runs(FAST, "Handler", SqliteEngine(tmp_path / "runs.sqlite3"), body)
    process = Process(runs)
    await runs.start()
    name = await process.begin()
    await limit_pages(runs, 0)
    gate.set()
    while "waits for its store" not in caplog.text:
        await asyncio.sleep(0.01)
    assert (await process.get(name)).status is Status.IN_PROGRESS
    await limit_pages(runs, 1 << 30)
    assert (await process.end(name)).status is Status.COMPLETED
    assert values(await process.events(name)) == list(range(20))
    await runs.stop(1)


async def test_a_post_to_a_full_disk_is_503_and_is_no_run(tmp_path: Path) -> None:
    found: list[Runs] = []

    class Watched(Worker): ...

    def configure(builder: Any) -> None:
        async def remember() -> None:
            service = builder._protocols[0].on_start.__self__
            found.append(service.runs)

        builder.on_startup(remember)

    async with serving(Watched, configure, {"AGENTSERVER_STORE": str(tmp_path / "runs")}) as client:
        await limit_pages(found[0], 0)
        statuses: list[int] = []
        told: dict[str, Any] = {}
        retry_after = ""
        for number in range(40):  # until what is left of the pages is used up
            async with client.post("/invocations", json={"text": "x" * 5000, "n": number}) as response:
                statuses.append(response.status)
                told = await response.json()
                retry_after = response.headers.get("Retry-After", "")
        assert statuses[-1] == 503
        assert told["error"] == {"code": "unavailable", "message": "Runs cannot be stored now"}
        assert retry_after == "1"
        await limit_pages(found[0], 1 << 30)
        async with client.post("/invocations", json={}) as response:
            assert response.status == 202
        async with client.get("/invocations?limit=500") as response:
            assert len((await response.json())["runs"]) == statuses.count(202) + 1


async def test_fifty_readers_and_one_that_stalls_do_not_hold_up_a_run(world: World) -> None:
    async with serving(Worker, environment={"AGENTSERVER_STORE": world.address}) as client:
        headers = {"x-agent-invocation-id": "a"}
        async with client.post("/invocations", json={"steps": 300}, headers=headers) as response:
            assert response.status == 202
        parts = urlsplit(str(client._base_url))
        stalled = await asyncio.open_connection(parts.hostname, parts.port, limit=1)
        stalled[1].write(b"GET /invocations/a HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")

        async def read(cursor: int) -> list[int]:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(cursor)}
            async with client.get("/invocations/a", headers=headers) as response:
                lines = (await response.text()).splitlines()
            return [int(line[4:]) for line in lines if line.startswith("id: ")]

        found = await asyncio.gather(*(read(cursor) for cursor in range(50)))
        stalled[1].close()
    assert found == [list(range(cursor + 1, 303)) for cursor in range(50)]


async def test_the_file_stays_small_when_runs_are_forgotten(tmp_path: Path) -> None:
    async def body(run: Run, _value: Any) -> str:
        await run.emit("x" * 4000)
        return "x" * 1000

    world = World("sqlite", tmp_path)
    path = tmp_path / "runs.sqlite3"
    async with world.process(body) as process:
        for _ in range(5):
            await asyncio.gather(*(process.begin(session_id=f"s{number}") for number in range(60)))
        while await process.runs._engine.unfinished():
            await asyncio.sleep(0.01)
        process.runs.clock = lambda: 1e12
        await process.runs._purge()
        assert list(await process.runs._engine.unfinished()) == []
    assert path.stat().st_size < 300_000, "300 runs of 5 kB each were forgotten"
