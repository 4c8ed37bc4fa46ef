"""Keeping the container awake: against a stand-in for the task storage, as the public clients use that.

What the stand-in checks is what those clients send; what the real one does with it nobody outside could try.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from types import ModuleType
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver import Durable, InvocationHandler, Run
from agentserver.durable import _lease
from agentserver.durable._lease import LeaseKeeper
from agentserver.durable._task_lease import TaskLease, task_lease
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError
from agentserver.testing import in_process
from tests.durable.agents import GATE
from tests.servers import DEADLINE

PROJECT = "/api/projects/p"


class TaskStorage:
    """The platform's task storage, as far as a lease needs it."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.seen: list[str] = []
        self.is_down = False
        self.app = web.Application()
        self.app.router.add_post(f"{PROJECT}/storage/tasks", self.create)
        self.app.router.add_route("*", f"{PROJECT}/storage/tasks/{{id}}", self.change)

    def note(self, request: web.Request) -> web.Response | None:
        self.seen.append(request.method)
        if request.query.get("api-version") != "v1" or request.headers["Authorization"] != "Bearer token-1":
            return web.Response(status=400)
        return web.Response(status=503) if self.is_down else None

    async def create(self, request: web.Request) -> web.Response:
        refused = self.note(request)
        if refused is not None:
            return refused
        body = await request.json()
        if {*body} != {"agent_name", "session_id", "id", "status", "title"} or body["id"] in self.tasks:
            return web.Response(status=409)
        self.tasks[body["id"]] = {**body, **request.query}
        return web.json_response(body, status=201)

    async def change(self, request: web.Request) -> web.Response:
        refused = self.note(request)
        task = self.tasks.get(request.match_info["id"])
        if refused is not None or task is None:
            return refused or web.Response(status=404)
        if request.method == "DELETE":
            del self.tasks[task["id"]]
            return web.Response(status=204 if request.query.get("force") == "true" else 409)
        same = all(task[name] == request.query[name] for name in ("lease_owner", "lease_instance_id"))
        return web.json_response(task, status=200 if same and await request.json() == {} else 409)

    async def until(self, holds: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not holds():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(wait(), DEADLINE)


@pytest.fixture
async def storage() -> AsyncGenerator[tuple[TaskStorage, FoundryEnvironment], None]:
    tasks = TaskStorage()
    async with TestServer(tasks.app) as server:
        variables = {
            "AGENTSERVER_STORE": "memory",
            "AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS": "0.1",
            "FOUNDRY_AGENT_NAME": "weather",
            "FOUNDRY_AGENT_SESSION_ID": "s-1",
            "FOUNDRY_HOSTING_ENVIRONMENT": "foundry",
            "FOUNDRY_PROJECT_ENDPOINT": str(server.make_url(PROJECT)),
        }
        yield tasks, FoundryEnvironment.read(variables)


async def token() -> str:
    return "token-1"


async def test_a_lease_is_held_while_there_is_work_and_no_longer(
    storage: tuple[TaskStorage, FoundryEnvironment],
) -> None:
    tasks, environment = storage
    work = [True]
    keeper = LeaseKeeper(TaskLease(environment, token), lambda: bool(work), every=0.02)
    keeper.start()
    await tasks.until(lambda: tasks.seen.count("PATCH") >= 2)
    (task,) = tasks.tasks.values()
    assert (task["agent_name"], task["session_id"], task["status"]) == ("weather", "s-1", "in_progress")
    assert (task["lease_owner"], task["lease_duration_seconds"]) == ("weather|session:s-1", "60")
    work.clear()
    await tasks.until(lambda: not tasks.tasks)
    work.append(True)
    await tasks.until(lambda: bool(tasks.tasks))
    await keeper.stop()
    assert tasks.tasks == {}


async def test_a_storage_that_is_down_or_has_forgotten_is_asked_again(
    storage: tuple[TaskStorage, FoundryEnvironment], caplog: pytest.LogCaptureFixture
) -> None:
    tasks, environment = storage
    tasks.is_down = True
    keeper = LeaseKeeper(TaskLease(environment, token), lambda: True, every=0.02)
    keeper.start()
    await tasks.until(lambda: len(tasks.seen) >= 3)
    tasks.is_down = False
    await tasks.until(lambda: bool(tasks.tasks))
    tasks.tasks.clear()
    await tasks.until(lambda: bool(tasks.tasks))
    await keeper.stop()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "the container may be stopped while runs work: the platform's task storage answered 503 to a POST",
        "the lease of the container is renewed again",
    ]
    assert "token-1" not in caplog.text


def awake(flag: bool) -> type[InvocationHandler]:
    class Worker(InvocationHandler, durable=Durable(keep_awake=flag, busy="parallel")):
        async def run(self, task: dict[str, Any], run: Run) -> None:
            if "gate" in task:
                await run.step("gate", GATE.of(task["gate"]).wait)
            await run.wait_for("go")

    return Worker


async def test_a_run_that_works_holds_the_lease_and_one_that_waits_for_a_signal_does_not(
    storage: tuple[TaskStorage, FoundryEnvironment], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, environment = storage
    monkeypatch.setattr(_lease, "RENEW_SECONDS", 0.02)
    identity = ModuleType("azure.identity")
    identity.DefaultAzureCredential = Identity  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setattr("agentserver.durable._task_lease.find_spec", repr)
    variables = {
        "AGENTSERVER_STORE": "memory",
        "FOUNDRY_HOSTING_ENVIRONMENT": "foundry",
        "FOUNDRY_PROJECT_ENDPOINT": environment.project_endpoint,
    }
    async with in_process(awake(True), environment=variables) as agent:
        await agent.client.start({"gate": environment.project_endpoint}, invocation_id="a")
        await tasks.until(lambda: bool(tasks.tasks))
        GATE.of(environment.project_endpoint).set()
        await tasks.until(lambda: not tasks.tasks)
        assert (await agent.client.get("a")).run().status == "in_progress"
    seen = len(tasks.seen)
    async with in_process(awake(False), environment=variables) as agent:
        await agent.client.start({}, invocation_id="a")
        await asyncio.sleep(0.1)
    assert len(tasks.seen) == seen


class Identity:
    """Gives the token, as a credential of azure-identity does."""

    def get_token(self, scope: str) -> Any:
        """The token."""
        assert scope == "https://ai.azure.com/.default"
        return type("Token", (), {"token": "token-1"})()


def test_there_is_no_lease_off_the_platform_and_without_an_identity_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert task_lease(FoundryEnvironment.read({})) is None
    assert not Durable().keep_awake
    hosted = {"FOUNDRY_HOSTING_ENVIRONMENT": "x", "FOUNDRY_PROJECT_ENDPOINT": "http://localhost/p"}
    monkeypatch.setattr("agentserver.durable._task_lease.find_spec", dict[str, None]().get)
    with pytest.raises(ConfigurationError, match="needs azure-identity: pip install"):
        task_lease(FoundryEnvironment.read(hosted))


async def test_an_identity_that_has_no_token_is_said_without_its_words(
    storage: tuple[TaskStorage, FoundryEnvironment], caplog: pytest.LogCaptureFixture
) -> None:
    tasks, environment = storage

    async def no_token() -> str:
        raise _lease.LeaseError("there is no token for the platform: ClientAuthenticationError")

    keeper = LeaseKeeper(TaskLease(environment, no_token), lambda: True, every=0.01)
    keeper.start()
    await tasks.until(lambda: "there is no token" in caplog.text)
    await keeper.stop()
    assert tasks.seen == []
