"""``doctor`` says what is wrong, and what to do."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.cli.process import cli
from tests.servers import ROOT, free_port

AGENT = """
from agentserver import AgentHost, InvocationHandler

class Echo(InvocationHandler):
    async def handle(self, request, context):
        return "x"

async def database():
    raise OSError("no database")

unready = AgentHost.create_builder().add_invocations(Echo)
unready.configure_health(lambda health: health.add_check("database", database))

class Other(Echo):
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text(AGENT)
    return tmp_path


async def examined(
    project: Path, *arguments: str, code: int = 0, **variables: str
) -> dict[str, dict[str, Any]]:
    """What it found, by what it looked at."""
    env = {"PORT": str(free_port()), **variables}
    done = await cli("doctor", *arguments, "--json", cwd=project, env=env)
    assert (done.code, done.err) == (code, ""), done
    return {finding["check"]: finding for finding in json.loads(done.out)}


async def test_all_is_well_with_a_handler_that_serves(project: Path) -> None:
    (project / "agent.yaml").write_text("kind: hosted\nprotocols:\n  - protocol: invocations\n")
    found = await examined(project, "agent.py:Echo")
    assert {finding["status"] for finding in found.values()} == {"ok"}
    for check in ("python", "aiohttp", "environment", "port", "handler", "readiness", "shutdown"):
        assert check in found
    assert found["agent.yaml"]["words"] == "declares invocations"


async def test_a_person_reads_a_line_for_each_finding(project: Path) -> None:
    done = await cli("doctor", cwd=project, env={"PORT": "none"})
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert any(line.startswith("ok       python: 3.") for line in lines)
    assert (
        "problem  environment: PORT is 'none', but it must be a whole number from 1 to 65535; "
        "change or unset that variable"
    ) in lines
    assert "handler" not in done.out


async def test_a_taken_port_is_a_problem(project: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = await examined(project, code=1, PORT=port)
    assert found["port"]["words"] == f"{port}: Address already in use"
    assert "set PORT" in found["port"]["advice"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nothing.py", "There is no file 'nothing.py' in "),
        ("agent.py", "agent.py has more than one handler"),
        ("agent:database", "database is a function that does not say which handler it makes"),
    ],
)
async def test_a_handler_that_cannot_serve_is_a_problem(target: str, words: str, project: Path) -> None:
    found = await examined(project, target, code=1)
    assert found["handler"]["status"] == "problem"
    assert found["handler"]["words"].startswith(words)
    assert "readiness" not in found


async def test_a_handler_that_is_not_ready_is_a_problem(project: Path) -> None:
    found = await examined(project, "agent:unready", code=1)
    assert found["handler"]["status"] == "ok"
    assert found["readiness"]["status"] == "problem"


async def test_an_agent_yaml_that_declares_what_is_not_served_is_a_problem(project: Path) -> None:
    (project / "agent.yaml").write_text("protocols:\n  - protocol: invocations_ws\n    version: 1.0.0\n")
    found = await examined(project, "agent:Echo", code=1)
    assert found["agent.yaml"]["words"] == "declares invocations_ws, but the handler serves invocations"


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("requirements.txt", "aiohttp\nagentserver>=1\n", "agentserver-invocations>=1\n# agentserver\n"),
        ("requirements-dev.txt", "agentserver\n", "agentserver_tools\n"),
        ("pyproject.toml", 'dependencies = ["agentserver[cli]>=1"]', 'packages = ["agentserver"]'),
        ("Dockerfile", "RUN pip install agentserver\n", "RUN pip install agentserver-invocations\n"),
    ],
)
async def test_a_file_that_asks_for_the_other_project_is_a_problem(
    name: str, wrong: str, right: str, project: Path
) -> None:
    (project / name).write_text(right)
    assert name not in await examined(project)
    (project / name).write_text(wrong)
    found = await examined(project, code=1)
    assert found[name]["advice"] == "write agentserver-invocations"


async def test_the_other_project_in_the_environment_is_a_problem(project: Path) -> None:
    metadata = project / "agentserver-0.2.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: agentserver\nVersion: 0.2\n")
    found = await examined(project, code=1, PYTHONPATH=f"{ROOT}{os.pathsep}{project}")
    assert found["packages"]["words"].startswith("agentserver 0.2 is installed: another project")
