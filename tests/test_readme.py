"""Every program of the README runs as it stands, every command under it prints what the README says."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from agentserver import AgentHostOptions, wire
from tests.documents import Block, blocks, matches
from tests.servers import ROOT, ServerProcess, running

README = (ROOT / "README.md").read_text()
# Sections that are about one package have tests of their own, beside those of the package.
ELSEWHERE = "".join(path.read_text() for path in (ROOT / "tests").glob("*/test_documents.py"))
SECTIONS = [name for name in re.findall(r"^## (.+)$", README, re.MULTILINE) if f'"{name}"' not in ELSEWHERE]

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def scenes() -> list[tuple[str, Block, list[Block]]]:
    """Each program with the commands that follow it in its section."""
    found: list[tuple[str, Block, list[Block]]] = []
    for section in SECTIONS:
        for block in blocks("README.md", section):
            if block.language == "python":
                found.append((section, block, []))
            elif not block.text.startswith("make ") and section != "Quick start":
                found[-1][2].append(block)
    return found


async def printed(command: str, server: ServerProcess) -> str:
    """What *command* prints, with this Python's tools at hand and *server* in place of the usual one."""
    address = server.url.removeprefix("http://")
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        command.replace("localhost:8088", address),
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": address.rpartition(":")[2],
        },
    )
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    return output.decode()


@needs_curl
@pytest.mark.parametrize(
    ("program", "commands"), [scene[1:] for scene in scenes()], ids=[scene[0] for scene in scenes()]
)
async def test_a_program_of_the_readme_answers_as_it_says_and_stops_cleanly(
    program: Block, commands: list[Block], tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(program.text)
    async with running(tmp_path / "main.py", cwd=tmp_path) as server:
        for command in commands:
            assert command.output is not None, "a command without what it prints"
            output = await printed(command.text, server)
            assert matches(output, command.output), output
        server.terminate()
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)


@needs_curl
async def test_the_quick_start_is_the_getting_started_sample_and_answers_its_curl_line() -> None:
    setup, ask, agent = blocks("README.md", "Quick start")
    sample = ROOT / "samples" / "01_getting_started" / "main.py"
    assert sample.read_text().endswith(agent.text)
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in setup.text.splitlines():
        make, target, *_ = line.split()
        assert (make, target in targets) == ("make", True)
    async with running(sample) as server:
        output = await printed(ask.text.replace("curl ", "curl -s "), server)
    assert ask.output is not None
    assert output.strip() == ask.output.strip()


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


def test_every_section_with_code_is_tested_here_or_beside_its_package() -> None:
    tested = {section for section, _, _ in scenes()}
    for section in SECTIONS:
        has_code = any(block.language in ("python", "bash") for block in blocks("README.md", section))
        assert not has_code or section in tested


def test_the_readme_names_every_option_and_every_variable() -> None:
    for option in fields(AgentHostOptions):
        assert f"`{option.name}`" in README
    variables = [value for name, value in vars(wire).items() if name.endswith("_VARIABLE")]
    assert len(variables) > 10
    for variable in variables:
        assert f"`{variable}`" in README


PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "samples").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
