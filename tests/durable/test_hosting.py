"""Durable handlers on the platform and in somebody's application: who a run belongs to, and what it keeps."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from agentserver import Durable, InvocationHandler, Run, map_invocations_server
from agentserver.environment import FoundryEnvironment
from agentserver.testing import in_process, run_server
from agentserver.testing.conditions import until
from tests.durable.agents import Worker
from tests.durable.test_http import EVENTS, URL, ended, frames, named
from tests.servers import ROOT

SECRETS = {
    "x-agent-foundry-call-id": "call-7e57",
    "x-agent-user-id": "user-7e57",
    "x-agent-user-isolation-key": "isolation-7e57",
    "x-agent-chat-isolation-key": "chat-7e57",
    "x-client-tone": "dry-7e57",
}


class Keeper(InvocationHandler, durable=Durable(backoff=0.01, keep_events=timedelta(seconds=0.2))):
    """Gives the headers that it was given; once its process has gone, those of the next attempt."""

    async def run(self, task: dict[str, Any], run: Run) -> dict[str, Any]:
        """Fail once where that is asked for."""
        logging.getLogger("agent").warning("working")
        if "breaks" in task:
            raise RuntimeError("broken")
        if task.get("waits"):
            await run.wait_for("go")
        return {"headers": dict(run.headers), "recovered": run.recovered}


@asynccontextmanager
async def application(store: Path | str) -> AsyncGenerator[BaseTestServer, None]:
    """Somebody's application with a durable agent under a prefix."""
    app = web.Application()
    environment = FoundryEnvironment.read(
        {"AGENTSERVER_STORE": str(store), "AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS": "0.2"}
    )
    map_invocations_server(app, Worker, prefix="/agents/one", environment=environment)
    async with TestServer(app) as server:
        yield server


@asynccontextmanager
async def client_of(store: Path | str) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A client of such an application."""
    async with (
        application(store) as server,
        aiohttp.ClientSession(str(server.make_url("/"))) as client,
    ):
        yield client


async def test_runs_of_an_agent_inside_an_application_outlive_it(tmp_path: Path) -> None:
    store = tmp_path / "runs.sqlite3"
    url = "/agents/one/invocations"
    async with client_of(store) as client:
        async with client.post(url, json={"approval": True}, headers=named("a")) as response:
            assert (response.status, response.headers["Location"]) == (202, f"{url}/a")
        async with client.get(f"{url}/a", headers=EVENTS) as response:
            await response.content.readuntil(b"run_start")
        async with client.get("/readiness") as response:
            assert response.status == 200
    async with client_of(store) as client:
        async with client.post(f"{url}/a/signal", json={"name": "approval", "payload": 1}) as response:
            assert response.status == 202
        async with client.get(f"{url}/a?last_event_id=2", headers=EVENTS) as response:
            told = frames(await response.text())
        assert [frame.get("event") for frame in told] == ["recovered", "completed", "done"]
        async with client.get(url) as response:
            assert [run["status"] for run in (await response.json())["runs"]] == ["completed"]


async def test_an_application_that_ends_sends_the_readers_away(tmp_path: Path) -> None:
    url = "/agents/one/invocations"
    async with (
        application(tmp_path / "runs") as server,
        aiohttp.ClientSession(str(server.make_url("/"))) as client,
        client.post(url, json={"approval": True}, headers={**named("a"), **EVENTS}) as response,
    ):
        await response.content.readuntil(b"run_start")
        await server.close()
        assert "event: reconnect" in await response.text()


async def test_events_that_are_no_longer_kept_are_gone_and_the_run_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agentserver.durable._runs._PURGE_EVERY", 0.05)
    async with in_process(Keeper, environment={"AGENTSERVER_STORE": "memory"}) as agent:
        async with agent.http.post(URL, json={}, headers=named("a")):
            await ended(agent.http, "a")
        while True:
            async with agent.http.get(f"{URL}/a", headers=EVENTS) as response:
                body = await response.text()
                if response.status == 410:
                    break
            await asyncio.sleep(0.02)
        assert json.loads(body)["error"]["code"] == "gone"
        assert (await ended(agent.http, "a"))["status"] == "completed"
        async with agent.http.post(URL, json={}, headers={**named("a"), **EVENTS}) as response:
            assert response.status == 410
        async with agent.http.post(URL, json={}, headers=named("a")) as response:
            assert (response.status, (await response.json())["status"]) == (200, "completed")


async def test_every_attempt_gets_what_the_platform_said_and_no_log_does(tmp_path: Path) -> None:
    store = {"AGENTSERVER_STORE": str(tmp_path / "runs"), "AGENTSERVER_LOG_LEVEL": "DEBUG"}
    async with run_server("-m", "tests.durable.test_hosting", environment=store, cwd=ROOT) as server:
        async with aiohttp.ClientSession(server.url, headers=SECRETS) as client:
            for name, task in (("broken", {"breaks": 1}), ("a", {"waits": True})):
                async with client.post(URL, json=task, headers=named(name)) as response:
                    assert response.status == 202
            await ended(client, "broken")
            await until(lambda: "broken" in "".join(server.log), what="the log of what failed")
            server.process.kill()
            await server.process.wait()
            await server.start()
            async with aiohttp.ClientSession(server.url, headers=SECRETS) as again:
                async with again.post(f"{URL}/a/signal", json={"name": "go"}) as response:
                    assert response.status == 202
                output = (await ended(again, "a"))["output"]
        async with (
            aiohttp.ClientSession(server.url) as stranger,
            stranger.get(f"{URL}/a", headers=EVENTS) as response,
        ):
            assert response.status == 404
    assert output["recovered"]
    assert SECRETS.items() <= output["headers"].items()
    log = "".join(server.log)
    assert "working" in log
    assert "7e57" not in log


if __name__ == "__main__":
    from agentserver import InvocationsServer

    InvocationsServer.run(Keeper)
