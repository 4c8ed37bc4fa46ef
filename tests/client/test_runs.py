"""The client and durable runs: begun once, read to the end over the death of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentserver.client import ResponseError, Retry
from agentserver.client.sse import StreamEvent
from agentserver.testing import in_process, run_server
from tests.durable.agents import Worker
from tests.servers import ROOT

MEMORY = {"AGENTSERVER_STORE": "memory"}


async def test_a_run_that_is_started_twice_with_one_key_is_one_run() -> None:
    async with in_process(Worker, environment=MEMORY) as agent:
        first = await agent.client.start({"steps": 2}, key="k")
        again = await agent.client.start({"steps": 2}, key="k")
        assert first.invocation_id == again.invocation_id
        told = await agent.client.wait(first.invocation_id, interval=0.01)
        assert json.loads(told.body)["output"] == {"steps": 2}
        with pytest.raises(ResponseError) as refused:
            await agent.client.start({"steps": 3}, key="k")
        assert refused.value.code == "idempotency_conflict"
        other = await agent.client.start({"steps": 2})
        assert other.invocation_id != first.invocation_id


async def test_the_events_of_a_run_come_to_the_last_and_from_any() -> None:
    async with in_process(Worker, environment=MEMORY) as agent:
        name = (await agent.client.start({"steps": 3})).invocation_id
        events = [event async for event in agent.client.events(name)]
        assert [event.id for event in events] == ["1", "2", "3", "4", "5"]
        assert [event.event for event in events][::4] == ["run_start", "completed"]
        assert [event.id async for event in agent.client.events(name, after=3)] == ["4", "5"]
        with pytest.raises(ResponseError) as refused:
            _ = [event async for event in agent.client.events("unknown")]
        assert refused.value.status == 404


async def test_a_cancelled_run_ends_the_events_and_the_waiting() -> None:
    async with in_process(Worker, environment=MEMORY) as agent:
        name = (await agent.client.start({"gate": "a gate that stays shut"})).invocation_id
        reading = asyncio.create_task(_kinds(agent.client.events(name)))
        assert json.loads((await agent.client.cancel(name)).body)["status"] == "cancelling"
        told = await agent.client.wait(name, interval=0.01)
        assert json.loads(told.body)["status"] == "cancelled"
        assert (await reading)[-1] == "cancelled"


async def test_a_reader_does_not_notice_that_the_server_was_killed(tmp_path: Path) -> None:
    environment = {"AGENTSERVER_STORE": str(tmp_path / "runs")}
    async with run_server(
        "-m", "tests.durable.agents", "Worker", environment=environment, cwd=ROOT
    ) as server:
        async with server.client() as client:
            name = (await client.start({"steps": 2, "approval": True})).invocation_id
            again = Retry(attempts=200, first_delay=0.05, max_delay=0.1)
            reading = asyncio.create_task(_kinds(client.events(name, reconnect=again)))
            await asyncio.sleep(0.2)
            server.process.kill()
            await server.process.wait()
            await server.start()
            async with client._http._client().post(
                f"{server.url}/invocations/{name}/signal", json={"name": "approval"}
            ) as response:
                assert response.status == 202
            assert await reading == ["run_start", "message", "message", "recovered", "completed"]


async def _kinds(events: AsyncIterator[StreamEvent]) -> list[str]:
    return [event.event async for event in events]
