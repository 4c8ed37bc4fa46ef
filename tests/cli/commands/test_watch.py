"""``watch`` on durable runs: their events, to the last, over the death of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import web

from agentserver.testing import AgentUnderTest, on_socket, run_server
from tests.cli.process import cli
from tests.client.conftest import Start
from tests.durable.agents import Worker
from tests.servers import ROOT


@pytest.fixture
async def agent() -> AsyncGenerator[AgentUnderTest, None]:
    async with on_socket(Worker, environment={"AGENTSERVER_STORE": "memory"}) as agent:
        yield agent


async def test_watch_prints_the_events_of_a_durable_run_from_any_to_the_last(agent: AgentUnderTest) -> None:
    await agent.client.start({"steps": 2}, invocation_id="a")
    done = await cli("watch", "a", "--url", agent.url)
    assert done.code == 0, done.err
    first, *parts, last = done.out.splitlines()
    assert first == 'run_start: {"type": "run_start", "attempt": 1}'
    assert parts == ['{"type":"part","n":0}', '{"type":"part","n":1}']
    assert last.startswith('completed: {"type":"completed",')
    rest = await cli("watch", "a", "--after", "2", "--json", "--url", agent.url)
    assert [json.loads(line)["id"] for line in rest.out.splitlines()] == ["3", "4"]
    nothing = await cli("watch", "a", "--after", "4", "--url", agent.url)
    assert (nothing.code, nothing.out) == (0, "")


async def test_watch_ends_as_the_run_did(agent: AgentUnderTest) -> None:
    await agent.client.start({"refuse": True}, invocation_id="failed")
    await agent.client.start({"approval": True}, invocation_id="cancelled")
    await agent.client.cancel("cancelled")
    codes = [(await cli("watch", name, "--url", agent.url)).code for name in ("failed", "cancelled", "none")]
    assert codes == [6, 8, 6]
    await agent.client.start({"approval": True}, invocation_id="waits")
    late = await cli("watch", "waits", "--timeout", "0.3", "--url", agent.url)
    assert late.code == 7
    assert late.err.count("\n") == 1


async def test_watch_says_how_a_run_stands_whose_events_are_no_longer_kept(aiohttp_server: Start) -> None:
    async def get(request: web.Request) -> web.Response:
        if request.headers["Accept"] == "text/event-stream":
            return web.json_response({"error": {"code": "gone", "message": "Gone"}}, status=410)
        return web.json_response({"status": "failed"})

    app = web.Application()
    app.router.add_get("/invocations/a", get)
    done = await cli("watch", "a", "--url", str((await aiohttp_server(app)).make_url("/")))
    assert (done.code, done.out) == (6, '{"status": "failed"}\n')


async def test_watch_goes_on_where_it_was_when_the_server_was_killed(tmp_path: Path) -> None:
    environment = {"AGENTSERVER_STORE": str(tmp_path / "runs")}
    async with (
        run_server("-m", "tests.durable.agents", "Worker", environment=environment, cwd=ROOT) as server,
        server.client() as client,
    ):
        name = (await client.start({"steps": 2, "approval": True})).invocation_id
        watching = asyncio.create_task(cli("watch", name, "--json", "--url", server.url))
        await asyncio.sleep(1.0)  # it need not have begun to read: what it prints is the same
        server.process.kill()
        await server.process.wait()
        await server.start()
        await client.signal(name, "approval")
        done = await watching
    assert done.code == 0, done.err
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["1", "2", "3", "4", "5"]
    assert json.loads(done.out.splitlines()[3])["event"] == "recovered"
