"""What the inspector must not touch: `agentserver run`, the budget of its page, other machines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import aiohttp

import agentserver.inspector
from tests.cli.process import clean_environment
from tests.servers import running

PAGE = Path(agentserver.inspector.__file__).with_name("page")
RUNS = """
import json, logging, sys
from aiohttp import web
from agentserver import InvocationHandler
from agentserver._hosting.builder import HostBuilder
from agentserver._http.server import HostServer

class Telling(InvocationHandler):
    async def handle(self, request, context):
        replaced = (HostServer.__call__, web.Server.__call__, web.TCPSite, logging.Logger.callHandlers)
        return {
            "modules": sorted(sys.modules),
            "replaced": [each.__module__ for each in replaced],
            "is_adjusted": HostBuilder.adjust is not None,
        }
"""


async def test_run_loads_nothing_of_it_and_finds_everything_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(RUNS)
    async with (
        running("-m", "agentserver.cli", "run", str(tmp_path / "agent.py")) as server,
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/invocations") as answer,
    ):
        told = await answer.json()
    unwanted = ("agentserver.inspector", "agentserver.cli.development", "agentserver.cli.relay")
    assert [name for name in told["modules"] if name.startswith(unwanted)] == []
    own = ["agentserver._http.server", "aiohttp.web_server", "aiohttp.web_runner", "logging"]
    assert told["replaced"] == own
    assert told["is_adjusted"] is False


def test_without_opentelemetry_there_are_no_spans_and_nothing_else_is_missing() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from agentserver.cli.development.server import can_trace
print(can_trace())
"""
    done = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, check=True, env=clean_environment()
    )
    assert done.stdout.strip() == "False"


def test_the_page_stays_within_its_budget_and_names_no_other_machine() -> None:
    files = list(PAGE.iterdir())
    assert {file.suffix for file in files} == {".html", ".css", ".js", ".svg"}
    assert sum(file.stat().st_size for file in files) <= 250_000
    assert (PAGE / "dom.js").read_text().count("\n") < 250
    addresses = {found for file in files for found in re.findall(r"\w+://[^\s\"']+", file.read_text())}
    assert addresses == {"http://www.w3.org/2000/svg"}  # a namespace, which nobody asks for


def test_the_page_makes_no_elements_of_text() -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    for file in PAGE.glob("*.js"):
        assert not re.search(sinks, file.read_text()), file.name
