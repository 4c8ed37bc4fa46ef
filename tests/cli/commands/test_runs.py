"""``agentserver runs``: on a store without its agent, beside it, and where there is none."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentserver.testing import in_process
from tests.cli.process import Outcome, cli
from tests.durable.agents import GATE, Worker

HEADERS = {
    "Accept": "text/event-stream",
    "x-agent-invocation-id": "done",
    "x-client-idempotency-key": "k-1",
    "x-agent-user-id": "Ada",
    "x-agent-foundry-call-id": "call-7",
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite3"


@pytest.fixture
async def left(store: Path) -> Path:
    """A store that an agent has left: one run completed, one under way, and one that waits behind it."""
    async with in_process(Worker, environment={"AGENTSERVER_STORE": str(store)}) as agent:
        session = agent.client.session("s-1")
        async with agent.http.post("/invocations", json={"steps": 2}, headers=HEADERS) as response:
            await response.read()
        await session.start({"gate": str(store)}, invocation_id="running")
        await session.start({}, invocation_id="waiting")
    GATE.of(str(store)).set()
    return store


async def runs(*arguments: str, store: Path) -> Outcome:
    return await cli("runs", *arguments, env={"AGENTSERVER_STORE": str(store)})


def objects(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


async def test_a_store_is_listed_and_shown_without_its_agent(left: Path) -> None:
    listed = objects(await runs("list", "--json", store=left))
    assert [(run["invocation_id"], run["status"]) for run in listed] == [
        ("waiting", "queued"),
        ("running", "in_progress"),
        ("done", "completed"),
    ]
    assert (listed[2]["handler"], listed[2]["key"], "output" in listed[2]) == ("Worker", "k-1", False)
    some = objects(await runs("list", "--status", "queued", "--session", "s-1", "--json", store=left))
    assert [run["invocation_id"] for run in some] == ["waiting"]
    table = (await runs("list", "--limit", "1", store=left)).out.splitlines()
    assert [line.split()[:3] for line in table] == [
        ["invocation_id", "status", "session_id"],
        ["waiting", "queued", "s-1"],
    ]
    told = json.loads((await runs("show", "done", "--events", store=left)).out)
    assert (told["input"], told["output"], len(told["events"])) == ({"steps": 2}, {"steps": 2}, 4)
    assert "Ada" not in json.dumps(told)
    assert "call-7" not in json.dumps(told)
    unknown = await runs("show", "nobody", store=left)
    assert (unknown.code, unknown.sentence) == (
        6,
        "the store has no run 'nobody': 'agentserver runs list' shows those it has",
    )


async def test_half_of_a_surrogate_pair_is_shown_as_json_escapes_it(store: Path) -> None:
    async with in_process(Worker, environment={"AGENTSERVER_STORE": str(store)}) as agent:
        await agent.client.start({"approval": True}, invocation_id="odd")
        signal = b'{"name": "approval", "payload": "\\ud800"}'
        async with agent.http.post("/invocations/odd/signal", data=signal) as response:
            assert response.status == 202
        await agent.client.wait("odd", interval=0.01)
    for form in ((), ("--json",)):
        shown = await runs("show", "odd", *form, store=store)
        assert (shown.code, json.loads(shown.out)["output"]["approved"]) == (0, "\ud800")
    forbidden = await runs("list", store=store / "below")
    assert (forbidden.code, forbidden.err.count("\n")) == (2, 1)


async def test_a_run_that_waits_ends_at_once_and_one_under_way_when_its_agent_comes_back(left: Path) -> None:
    assert (await runs("cancel", "waiting", store=left)).out == "waiting is cancelled\n"
    said = (await runs("cancel", "running", store=left)).out
    assert said == "running is cancelling: it ends when its agent starts again\n"
    assert objects(await runs("cancel", "done", "--json", store=left))[0]["status"] == "completed"
    async with in_process(Worker, environment={"AGENTSERVER_STORE": str(left)}) as agent:
        run = (await agent.client.wait("running", interval=0.01)).run()
        assert run.status == "cancelled"
        events = [event.event async for event in agent.client.events("waiting")]
        assert events == ["cancelled"]


async def test_what_has_ended_is_forgotten_when_its_time_is_up_or_all_of_it_on_request(left: Path) -> None:
    assert (await runs("purge", store=left)).out == "0 runs forgotten\n"
    assert objects(await runs("purge", "--all", "--json", store=left)) == [{"purged": 1}]
    listed = objects(await runs("list", "--json", store=left))
    assert [run["invocation_id"] for run in listed] == ["waiting", "running"]


async def test_beside_a_running_agent_a_store_can_be_looked_at_and_not_changed(store: Path) -> None:
    async with in_process(Worker, environment={"AGENTSERVER_STORE": str(store)}) as agent:
        await agent.client.start({"steps": 300}, invocation_id="a")
        listed = objects(await runs("list", "--json", store=store))
        assert [run["invocation_id"] for run in listed] == ["a"]
        refused, also = await asyncio.gather(
            runs("cancel", "a", store=store), runs("purge", "--all", store=store)
        )
        assert refused.code == also.code == 1
        assert refused.sentence.endswith("while an agent runs, cancel through it: agentserver cancel ID")
        assert "another process uses" in also.sentence
        assert (await agent.client.wait("a", interval=0.01)).run().status == "completed"


async def test_a_store_that_is_not_there_or_is_none_is_one_sentence(store: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with sqlite3.connect(tmp_path / "foreign") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for place, words in (
        (str(store), f"there is no store at {store}: set AGENTSERVER_STORE"),
        (str(tmp_path / "empty"), "is empty: set AGENTSERVER_STORE"),
        (str(tmp_path / "foreign"), "is no store of agentserver"),
        ("memory", "is in the agent's process alone: ask the agent"),
    ):
        outcome = await cli("runs", "list", "--store", place)
        assert outcome.code == 2
        assert words in outcome.sentence
    assert "runs.sqlite3" not in os.listdir(tmp_path)
