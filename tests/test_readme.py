"""The README: short, its quick start the first sample; what it shows is run by ``test_pages``."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.documents import blocks
from tests.servers import ROOT


def test_the_readme_is_what_a_first_reader_needs_and_no_more() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") < 200
    programs = [block for block in blocks("README.md") if block.language == "python"]
    assert len(programs) == 5


def test_the_quick_start_is_the_getting_started_sample_after_two_commands_that_exist() -> None:
    setup, _ask, agent = list(blocks("README.md", "Quick start"))
    sample = ROOT / "samples" / "01_getting_started" / "main.py"
    assert sample.read_text().endswith(agent.text)
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.split()[:2] for line in setup.text.splitlines()]
    assert commands == [["make", "run"], ["make", "test"]]
    assert {target for _make, target in commands} <= set(targets)


def test_make_run_starts_the_getting_started_sample_or_another() -> None:
    for arguments, sample in ([], "01_getting_started"), (["SAMPLE=03_streaming"], "03_streaming"):
        plan = subprocess.run(
            ["make", "-n", "--no-print-directory", "run", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert plan.stdout.endswith(f"samples/{sample}/main.py\n")


PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "samples").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
