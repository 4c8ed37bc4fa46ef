"""The pytest plugin, in this run and in runs of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from agentserver import FoundryEnvironment, map_invocations_server
from agentserver.testing import CloseEvent, CloseEvents
from agentserver.testing.plugin import StartAgent, StartServer
from tests.testing.agents import Echo
from tests.warm_start import warm_starts

FIELD = "azure.ai.agentserver.invocations_ws"


async def test_an_agent_in_process_and_one_on_a_socket_are_fixtures(
    agent_in_process: StartAgent, agent_on_socket: StartAgent
) -> None:
    for start in (agent_in_process, agent_on_socket):
        agent = await start(Echo, environment={"FOUNDRY_AGENT_SESSION_ID": "s-1"})
        assert (await agent.client.invoke("x")).json()["session"] == "s-1"


async def test_the_fixtures_stand_beside_those_of_pytest_aiohttp(
    aiohttp_client: Callable[..., Awaitable[TestClient[web.Request, web.Application]]],
    agent_in_process: StartAgent,
) -> None:
    app = web.Application()
    map_invocations_server(app, Echo, environment=FoundryEnvironment.read({}))
    theirs = await aiohttp_client(app)
    ours = await agent_in_process(Echo)
    async with theirs.post("/invocations", data="x") as response:
        assert (await response.json())["echo"] == (await ours.client.invoke("x")).json()["echo"] == "x"


async def test_a_server_process_is_a_fixture(agent_process: StartServer) -> None:
    server = await agent_process(Echo)
    async with server.client() as client:
        assert (await client.invoke("x")).json()["pid"] == server.process.pid


def test_the_platforms_variables_are_taken_away_and_faked(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("PORT", "1234")
    foundry_environment: Callable[..., dict[str, str]] = request.getfixturevalue("foundry_environment")
    assert FoundryEnvironment.read().port == 8088
    foundry_environment(FOUNDRY_AGENT_NAME="bee", FOUNDRY_AGENT_ID=None)
    environment = FoundryEnvironment.read()
    assert (environment.agent_id, environment.is_hosted, environment.session_id) == (
        "bee:1",
        True,
        "test-session",
    )


async def test_close_events_are_values(close_events: CloseEvents) -> None:
    fields = {f"{FIELD}.session_id": "s-1", f"{FIELD}.close_code": 1011, f"{FIELD}.duration_ms": 2.5}
    logger = logging.getLogger("agentserver.websocket")
    logger.info("closed", extra={**fields, f"{FIELD}.error.code": "internal_error"})
    logger.info("something else")
    logger.info("closed", extra={**fields, f"{FIELD}.close_code": 1000})
    assert [event.close_code for event in close_events] == [1011, 1000]
    assert await close_events.next() == CloseEvent("s-1", 1011, 2.5, "internal_error")
    assert (close_events[0].error_code, len(close_events)) == (None, 1)
    await close_events.next()
    with pytest.raises(AssertionError, match="a close event did not come about"):
        await close_events.next(timeout=0.05)


def pytest_run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "pytest.ini").write_text("[pytest]\n")  # whatever lies in the directories above
    with warm_starts():
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "agentserver.testing.plugin", *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_the_fixtures_work_in_the_strict_mode_of_pytest_asyncio_too(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from tests.testing.agents import Echo\n"
        "@pytest.mark.asyncio\n"
        "async def test_it(agent_in_process):\n"
        "    agent = await agent_in_process(Echo)\n"
        "    assert (await agent.client.invoke('x')).json()['echo'] == 'x'\n"
    )
    scope = "asyncio_default_fixture_loop_scope=function"
    result = pytest_run(tmp_path, "-W", "error", "-o", "asyncio_mode=strict", "-o", scope)
    assert "1 passed" in result.stdout, result.stdout + result.stderr


NO_ASYNCIO = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):  # what a plugin for another library does, as far as it matters here
    if pyfuncitem.get_closest_marker("elsewhere"):
        names = pyfuncitem._fixtureinfo.argnames
        with pytest.raises(StopIteration):
            pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}).send(None)
        return True
"""


@pytest.mark.parametrize("fixture", ["agent_in_process", "agent_on_socket", "agent_process"])
def test_in_a_test_that_does_not_run_on_asyncio_a_fixture_says_so(fixture: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(NO_ASYNCIO)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from tests.testing.agents import Echo\n"
        "@pytest.mark.elsewhere\n"
        f"async def test_it({fixture}):\n"
        f"    await {fixture}(Echo)\n"
    )
    scope = "asyncio_default_fixture_loop_scope=function"
    strict = ("-o", "asyncio_mode=strict", "-o", "markers=elsewhere")
    result = pytest_run(tmp_path, *strict, "-o", scope)
    said = result.stdout + result.stderr
    assert "Agents run on asyncio, and this test runs on something else" in said
    assert "never awaited" not in said


def test_anyio_runs_tests_with_the_fixtures_on_its_asyncio_backend(tmp_path: Path) -> None:
    pytest.importorskip("anyio")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from tests.testing.agents import Echo\n"
        "@pytest.fixture\n"
        "def anyio_backend():\n"
        "    return 'asyncio'\n"
        "@pytest.mark.anyio\n"
        "async def test_it(agent_on_socket):\n"
        "    agent = await agent_on_socket(Echo)\n"
        "    assert (await agent.client.invoke('x')).json()['echo'] == 'x'\n"
    )
    result = pytest_run(tmp_path, "-o", "asyncio_default_fixture_loop_scope=function")
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_without_pytest_asyncio_a_fixture_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "pytest_asyncio.py").write_text("raise ImportError")
    (tmp_path / "test_it.py").write_text("def test_it(agent_on_socket):\n    pass\n")
    result = pytest_run(tmp_path, "-p", "no:asyncio", "-p", "no:pytest-aiohttp", "-p", "no:aiohttp")
    assert "install pytest-aiohttp" in result.stdout, result.stdout + result.stderr


def test_loading_the_plugin_loads_neither_server_nor_client() -> None:
    program = (
        "import sys, agentserver.testing.plugin\n"
        "assert not any(name.startswith(('agentserver.client', 'agentserver.invocations', 'aiohttp'))"
        " for name in sys.modules if sys.modules[name]), sorted(sys.modules)"
    )
    code = "import sys; sys.modules['pytest_asyncio'] = None\n" + program
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
