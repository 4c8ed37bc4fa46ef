"""The version stands in one place, `agentserver/_version.py`, and everybody reads it there."""

from __future__ import annotations

import re
from importlib.metadata import version

import agentserver
from agentserver._http.server_header import server_header_segment
from tests.servers import ROOT


def test_the_distribution_has_the_version_of_the_package() -> None:
    assert version("agentserver-invocations") == agentserver.__version__


def test_the_server_names_its_version() -> None:
    assert server_header_segment("agentserver-core").startswith(f"agentserver-core/{agentserver.__version__}")


def test_the_changelog_begins_with_the_version() -> None:
    found = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == agentserver.__version__


def test_no_other_module_says_the_version() -> None:
    modules = [path for path in (ROOT / "agentserver").rglob("*.py") if path.name != "_version.py"]
    literal = re.compile(rf"""["']{re.escape(agentserver.__version__)}["']""")
    # The bindings of AsyncAPI have a version too.
    assert {path.name for path in modules if literal.search(path.read_text())} <= {"asyncapi.py"}
    assert '"' + agentserver.__version__ + '"' not in (ROOT / "pyproject.toml").read_text()
