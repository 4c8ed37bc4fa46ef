"""What the inspector must not touch: `agentserver run`, the budget of its page, other machines."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import agentserver.inspector
from tests.cli.process import clean_environment

PAGE = Path(agentserver.inspector.__file__).with_name("page")
RUNS = """
import sys
from agentserver.cli.parser import build, command_of
command_of(build().parse_args(["run", "x.py"]).command)
import agentserver, agentserver.cli.target, agentserver._hosting.process
unwanted = ("agentserver.inspector", "agentserver.cli.development")
print([name for name in sys.modules if name.startswith(unwanted)])
"""


def test_run_imports_nothing_of_it() -> None:
    done = subprocess.run(
        (sys.executable, "-c", RUNS), capture_output=True, text=True, check=True, env=clean_environment()
    )
    assert done.stdout.strip() == "[]"


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
