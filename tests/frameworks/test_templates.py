"""What ``agentserver new --framework`` makes: it passes its own tests, type-checks, starts and answers."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from pathlib import Path

import pytest

from agentserver.cli.commands.new import FRAMEWORKS
from agentserver.testing import run_server
from tests.cli.process import clean_environment, cli
from tests.frameworks.agents import is_installed
from tests.frameworks.model import StandIn
from tests.servers import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_a_project_passes_its_tests_type_checks_and_answers_as_its_readme_says(
    name: str, model: StandIn, tmp_path: Path
) -> None:
    if not is_installed(name.replace("-", "_")):
        pytest.skip(f"{name} is not installed: make frameworks-test installs it")
    package = f"my_{name.replace('-', '_')}"
    await cli("new", f"my-{name}", "--framework", name, cwd=tmp_path)
    project = tmp_path / f"my-{name}"
    assert "1 passed" in await tool("pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert "Success" in await tool("mypy", cwd=project)
    variables = {"OPENAI_API_KEY": "not-a-key", "OPENAI_BASE_URL": model.url, "OPENAI_MODEL": ""}
    async with run_server("-m", package, cwd=project, environment=variables) as server:
        done = await cli(*shlex.split(FRAMEWORKS[name].talk)[1:], "--url", server.url)
        assert (done.code, done.err) == (0, "")
        assert json.loads(done.out)["output"] == "The tool says: It is sunny in Rome."
        assert await server.stop() == 0
