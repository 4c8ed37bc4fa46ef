"""A database that is gone, read-only, or none: no run is lost, no 202 without a record, one sentence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from typing import Any

import pytest

from agentserver.durable import _postgres_database
from agentserver.durable._engine import DisplacedError
from agentserver.durable._postgres import PostgresEngine
from agentserver.durable._postgres_database import address_of
from agentserver.durable._records import Changes, End, Event, NewRun, Status, StepKey, StepRecord
from agentserver.durable._runs import Runs
from agentserver.durable._store import open_engine
from agentserver.durable.run import Run
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError
from tests.durable.agents import GATE, Worker
from tests.durable.harness import FAST, Process, timeout, values
from tests.durable.postgres import PostgresServer, shared_server
from tests.servers import serving


@pytest.fixture
def server() -> Generator[PostgresServer, None, None]:
    """One that a test may end."""
    server = shared_server()
    yield server
    if server.is_halted:
        server.start()


def engine(server: PostgresServer, schema: str) -> PostgresEngine:
    return PostgresEngine(address_of(server.url_of(schema), ""))


@pytest.mark.parametrize("seconds", [0.5, pytest.param(20, marks=pytest.mark.postgres)])
async def test_runs_wait_for_a_database_that_is_gone_and_requests_are_503(
    server: PostgresServer, seconds: float
) -> None:
    store = {"AGENTSERVER_STORE": server.url_of(f"gone_{int(seconds)}")}
    async with serving(Worker, environment=store) as client:
        headers = {"x-agent-invocation-id": "a"}
        GATE.events.clear()
        async with client.post("/invocations", json={"steps": 3, "gate": "db"}, headers=headers) as response:
            assert response.status == 202
        async with timeout():
            while True:
                async with client.get("/invocations/a") as response:
                    if (await response.json())["last_event_id"] == 4:
                        break
        server.halt()
        GATE.of("db").set()
        async with client.post("/invocations", json={}, headers={"x-agent-invocation-id": "b"}) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
        async with client.get("/readiness") as response:
            assert response.status == 503
        async with client.get("/invocations/a") as response:
            assert response.status == 503
        await asyncio.sleep(seconds)
        server.start()
        async with timeout():
            while True:
                async with client.get("/invocations/a") as response:
                    told = await response.json()
                    if response.status == 200 and told["status"] == "completed":
                        break
                await asyncio.sleep(0.02)
        assert (told["recoveries"], told["last_event_id"]) == (0, 5)
        async with client.get("/invocations/b") as response:
            assert response.status == 404
        async with client.get("/readiness") as response:
            assert response.status == 200


async def test_a_database_that_can_only_be_read_is_503_and_serves_what_is_there(
    server: PostgresServer,
) -> None:
    schema = "read_only"
    async with serving(Worker, environment={"AGENTSERVER_STORE": server.url_of(schema)}) as client:
        headers = {"x-agent-invocation-id": "a"}
        async with client.post("/invocations", json={}, headers=headers) as response:
            assert response.status == 202
        async with timeout():
            while (await (await client.get("/invocations/a")).json())["status"] != "completed":
                await asyncio.sleep(0.01)
        await server.set("default_transaction_read_only", "on")
        try:
            async with client.post("/invocations", json={}) as response:
                assert response.status == 503
            async with client.get("/readiness") as response:
                assert response.status == 503
            async with client.get("/invocations/a") as response:
                assert response.status == 200
        finally:
            await server.set("default_transaction_read_only", "off")
        async with client.post("/invocations", json={}) as response:
            assert response.status == 202


async def test_a_process_that_starts_before_its_database_serves_once_it_is_there(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(run: Run, _value: Any) -> None:
        await run.emit("here")

    server.halt()
    runs = Runs(FAST, "Handler", engine(server, "late"), body)
    await runs.start()
    assert not runs.is_open
    assert "cannot be reached" in caplog.text
    server.start()
    async with timeout():
        while not runs.is_open:
            await asyncio.sleep(0.01)
    process = Process(runs)
    name = await process.begin()
    assert (await process.end(name)).status is Status.COMPLETED
    assert values(await process.events(name)) == ["here"]
    await runs.stop(1)


async def test_what_can_never_be_a_store_is_one_sentence(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = engine(server, "later")
    await later.open()
    await later.close()
    _ = await server.rows("later", "UPDATE store SET version = 99")
    _ = await server.rows("later", "CREATE DATABASE old ENCODING 'SQL_ASCII' TEMPLATE template0")
    url = server.url
    for store, sentence in (
        (server.url_of("later"), "is of another version of agentserver \\(99"),
        (url.replace("/postgres?", "/old?"), "has the encoding SQL_ASCII"),
        (url.replace("/postgres?", "/none?"), "cannot be used as a store .*none"),
        (url.replace("agentserver@", "nobody@"), "cannot be used as a store .*nobody"),
        (url + "&schema=No-Name", "asks for the schema 'No-Name'"),
        ("postgresql://host:port/x", "is no address of a database"),
        ("postgresql:///x?sslmode=some", "is no address of a database"),
        ("redis://host", "a store of the kind 'redis'"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            await open_engine(FoundryEnvironment(store=store)).open()
    monkeypatch.setattr(_postgres_database, "OLDEST_SERVER", 99)
    with pytest.raises(ConfigurationError, match="the store needs 99 or later"):
        await engine(server, "later").open()
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigurationError, match="pip install 'agentserver-invocations\\[postgres\\]'"):
        await engine(server, "later").open()


async def test_a_password_is_never_said(server: PostgresServer) -> None:
    url = server.url.replace("agentserver@", "nobody:geheim@")
    with pytest.raises(ConfigurationError) as raised:
        await open_engine(FoundryEnvironment(store=url)).open()
    assert "geheim" not in str(raised.value)


def test_the_place_that_is_shown_is_the_one_that_is_asked() -> None:
    for url, shown in (
        ("postgresql://u:secret@db:6000/runs", "db:6000/runs"),
        ("postgresql://u@/runs?host=/run/sockets&port=6001", "/run/sockets:6001/runs"),
        ("postgresql:///runs", "localhost:5432/runs"),
    ):
        assert address_of(url, "").shown == shown


async def test_each_agent_has_a_schema_of_its_own_unless_one_is_named() -> None:
    assert address_of("postgresql://u:p@h/d", "My Agent").schema == "agentserver_my_agent"
    assert address_of("postgresql://u:p@h/d", "").schema == "agentserver"
    named = address_of("postgresql://u:p@h/d?schema=mine&sslmode=require", "My Agent")
    assert (named.schema, named.url) == ("mine", "postgresql://u:p@h/d?sslmode=require")
    assert named.shown == "h:5432/d"


async def test_a_write_whose_answer_was_lost_may_come_again(server: PostgresServer) -> None:
    store = engine(server, "again")
    await store.open()
    new = NewRun("a", "s", "", None, "", "Handler", "null", "{}", 1.0)
    _ = await store.create(new, lambda _running, _waiting: Status.IN_PROGRESS)
    claims = [await store.claim("a", 2.0) for _ in range(2)]
    assert [claim.run.recoveries for claim in claims if claim] == [0, 0]
    epoch = 2
    step = StepRecord(StepKey("work", 0), None, 1)
    for _ in range(2):
        await store.write("a", epoch, Changes(3.0, [Event(1, "step_retry", "{}")], [step], retries=1))
    run = await store.get("a")
    assert run is not None
    assert (run.retries, run.last_event) == (1, 1)
    ended = Changes(4.0, [Event(2, "completed", "{}")], [], end=End(Status.COMPLETED, "1", None, 9e9, 9e9))
    for _ in range(2):
        await store.write("a", epoch, ended)
    with pytest.raises(DisplacedError):
        await store.write("a", epoch, Changes(5.0, [Event(3, "", "{}")], []))
    assert [event.id for event in await store.events("a", 0, 9)] == [1, 2]
    await store.close()
