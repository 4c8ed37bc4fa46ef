"""Tables of the pages that say in words what the generated ones list: they name the same things."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from agentserver import AgentHostOptions, InvocationsServerOptions
from agentserver.cli.errors import Exit
from documentation.tables import TABLES
from tests.servers import ROOT

NAME = re.compile(r"`([\w.]+)`")


def cells(page: str, head: str) -> list[list[str]]:
    """The rows of the table of *page* whose first line is *head*."""
    lines = (ROOT / "docs" / page).read_text().split(f"\n{head}\n")[1].splitlines()[1:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


def number(text: str) -> float | None:
    """A default as a page writes it: ``30 s``, ``10,000``, ``none``."""
    digits = text.partition(" ")[0].replace(",", "")
    return None if text == "none" else float(digits)


def test_backpressure_says_the_limits_that_hold() -> None:
    said: dict[str, float | None] = {}
    for _what, options, defaults, *_who in cells(
        "backpressure.md", "| what | option | default | who trips it |"
    ):
        values = [part.strip() for part in re.split(r",\s(?!\d{3}\b)", defaults)]
        said.update(dict(zip(NAME.findall(options), map(number, values), strict=False)))
    holds = {field.name: field.default for field in fields(AgentHostOptions)}
    assert said == {name: holds[name] for name in said}
    assert len(said) > 10


def test_every_option_of_websockets_is_on_their_page() -> None:
    said = {NAME.findall(row[0])[0] for row in cells("websockets.md", "| option | default | |")}
    options = {field.name for field in fields(InvocationsServerOptions)}
    assert said == {name for name in options if name.startswith("websocket_")}


@pytest.mark.parametrize(
    ("page", "codes"),
    [("cli.md", {code.value for code in Exit}), ("lifecycle.md", {0, 1, 2, 130})],
)
def test_every_exit_code_is_there(page: str, codes: set[int]) -> None:
    assert {int(row[0]) for row in cells(page, "| exit code | means |")} == codes


def test_telemetry_names_the_metrics_that_there_are() -> None:
    said = {
        name
        for row in cells("telemetry.md", "| name | kind, unit | attributes |")
        for name in NAME.findall(row[0])
    }
    made = {NAME.findall(line)[0] for line in TABLES["metrics"]().splitlines()[2:]}
    assert said == made


def test_no_page_names_a_variable_of_ours_that_there_is_not() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "agentserver").rglob("*.py"))
    pages: list[Path] = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "samples").rglob("*.md"),
    ]
    named = {name for page in pages for name in re.findall(r"\bAGENTSERVER_[A-Z_]+", page.read_text())}
    assert {name for name in named if f'"{name}"' not in sources} == set()
