"""What ``agentserver new --voice`` makes: it passes its own tests, type-checks, starts and answers."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from agentserver.testing import run_server
from tests.cli.process import clean_environment, cli
from tests.servers import ROOT
from tests.voice.caller import calling, sound_of, spoken, words

pytestmark = pytest.mark.asyncio


async def tool(*arguments: str, cwd: Path) -> str:
    """Run a tool of this environment in *cwd*, which must end well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        cwd=cwd,
        env=clean_environment({"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT)}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 250)
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.timeout(300)
async def test_a_project_passes_its_tests_type_checks_and_says_back_what_it_heard(tmp_path: Path) -> None:
    await cli("new", "my-parrot", "--voice", cwd=tmp_path)
    project = tmp_path / "my-parrot"
    assert "1 passed" in await tool("pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert "Success" in await tool("mypy", cwd=project)
    for check in (["check"], ["format", "--check"]):
        await tool("ruff", *check, "--isolated", ".", cwd=project)
    speech = await asyncio.to_thread(spoken, "it is sunny in rome")
    async with run_server("-m", "my_parrot", cwd=project) as server, calling(server.url) as caller:
        await caller.told("ready")
        caller.say(speech)
        await caller.told("speaking", who="agent", active=False)
        assert words(sound_of(caller), "it is sunny in rome", "tell me a story") == "it is sunny in rome"
        server.terminate()
        assert await server.exit_code() == 0
