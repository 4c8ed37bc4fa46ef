"""Every file of the page about types runs, as a stranger would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentserver.cli import main
from tests.documents import blocks, write
from tests.servers import ROOT
from tests.testing.test_documents import passed, run, written

TALK = """
import asyncio
from agentserver.testing import on_socket
from ask import ask
from chat import Chat
from jobs import Jobs
from voice import Voice

async def main() -> None:
    async with on_socket(Chat) as chat, on_socket(Voice) as voice, on_socket(Jobs) as jobs:
        await ask(chat.url, voice.url, jobs.url)

asyncio.run(main())
"""
SETTINGS = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, list(blocks("docs/typed.md")))
    (tmp_path / "talk.py").write_text(TALK)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    return tmp_path


def test_its_client_talks_to_its_agents_and_its_tests_pass(folder: Path) -> None:
    assert run("python -W error talk.py", folder) == "Hello\nyou\n12 tokens\nHello, Ada\n[1, 2]\n"
    assert passed(run("pytest -q test_chat.py", folder)) == written(list(blocks("docs/typed.md"))) == 3


def test_type_checkers_accept_it(folder: Path) -> None:
    for name in ("jobs", "voice", "chat", "ask", "test_chat"):
        assert (folder / f"{name}.py").exists()
    # With the project's own settings and cache: reading aiohttp anew takes long.
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml"]
    done = subprocess.run(
        [*command, str(folder / "ask.py"), str(folder / "test_chat.py")],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_its_handlers_have_documents(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("chat", "voice", "jobs"):
        assert main(["docs", str(folder / f"{name}.py")]) == 0
        assert capsys.readouterr().out.startswith("{")
