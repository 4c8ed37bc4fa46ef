"""Every file and command about testing runs as the documents say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.documents import Block, blocks, write
from tests.warm_start import warm_starts

PROGRAMS = {"pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"], "python": [sys.executable]}


def run(command: str, directory: Path) -> str:
    """Run a command line of a document in *directory*."""
    program, *arguments = command.split()
    with warm_starts():
        result = subprocess.run(
            [*PROGRAMS[program], *arguments],
            cwd=directory,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def passed(output: str) -> int:
    """How many tests passed."""
    found = re.search(r"(\d+) passed", output)
    return int(found[1]) if found else 0


def written(found: list[Block]) -> int:
    """How many tests the blocks hold."""
    return sum(block.text.count("async def test_") for block in found)


def test_the_files_of_the_document_pass_as_they_are(tmp_path: Path) -> None:
    found = list(blocks("docs/testing.md"))
    write(tmp_path, found)
    commands = [block for block in found if block.language == "bash"]
    assert [command.text for command in commands] == ["pytest -q\n", "python check.py\n"]
    assert passed(run(commands[0].text, tmp_path)) == written(found) == 10
    assert run(commands[1].text, tmp_path) == commands[1].output
