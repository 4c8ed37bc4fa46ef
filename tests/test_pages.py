"""Every program of the README and the pages runs as it stands; the commands under it print what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.documents import Block, blocks, matches
from tests.servers import ROOT
from tests.stage import Stage

# Pages whose programs have tests of their own, beside those of what they are about.
ELSEWHERE = {
    document
    for path in (ROOT / "tests").glob("*/test_*.py")
    for document in re.findall(r'"(docs/[\w/-]+\.md)"', path.read_text())
}
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
RUNS = re.compile(r"InvocationsServer\.run\(|\.build\(\)\.run\(|\brun_app\(")

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Scene(NamedTuple):
    """A program, and the commands that follow it on its page."""

    page: str
    program: Block
    commands: list[Block]


def scenes() -> list[Scene]:
    """The programs of all pages that have none of their own tests, in their order."""
    found: list[Scene] = []
    early: list[Block] = []  # the README's first command comes before its program
    for page in PAGES:
        if page in ELSEWHERE:
            continue
        for block in blocks(page):
            if block.language == "python" and RUNS.search(block.text):
                found.append(Scene(page, block, []))
            elif block.language == "bash" and not block.text.startswith("make "):
                (found[-1].commands if found else early).append(block)
    found[0].commands.extend(early)
    return found


def printed(command: str, port: int) -> str:
    """What *command* prints, with this Python's tools at hand and the server at *port* for the usual one."""
    done = subprocess.run(
        [
            "bash",
            "-c",
            command.replace("curl -X", "curl -s -X").replace("localhost:8088", f"127.0.0.1:{port}"),
        ],
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": str(port),
        },
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout


SCENES = scenes()


@needs_curl
@pytest.mark.parametrize(
    "scene", SCENES, ids=[f"{scene.page}-{number}" for number, scene in enumerate(SCENES)]
)
def test_a_program_answers_as_its_page_says_and_stops_cleanly(
    scene: Scene, stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(scene.program.text)
    fails = any("internal_error" in (command.output or "") for command in scene.commands)
    with stage.play(tmp_path / "main.py", {"AGENTSERVER_STORE": "memory"}, may_fail=fails) as port:
        for command in scene.commands:
            assert command.output is not None, "a command without what it prints"
            output = printed(command.text, port)
            assert matches(output, command.output), output


def test_every_page_with_a_program_is_tested_here_or_beside_what_it_is_about() -> None:
    tested = {scene.page for scene in SCENES} | ELSEWHERE
    for page in PAGES:
        runs = any(block.language == "bash" or RUNS.search(block.text) for block in blocks(page))
        assert not runs or page in tested, page
