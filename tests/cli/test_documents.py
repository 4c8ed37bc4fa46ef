"""Every command line of the documents runs, in their order, and prints what they say."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from agentserver.cli.errors import Exit
from agentserver.cli.parser import build
from tests.cli.process import clean_environment
from tests.documents import Block, blocks, matches
from tests.servers import DEADLINE, ROOT, free_port

CLI = (ROOT / "docs" / "cli.md").read_text()
SCENES = [("docs/start.md", "A project of your own")] + [
    ("docs/cli.md", section)
    for section in re.findall(r"^## (.+)$", CLI, re.MULTILINE)
    if "```bash" in CLI.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
]
SERVERS = ("agentserver run", "agentserver dev")


class Shell:
    """A person's two terminals: one in which the server runs, one for everything else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = clean_environment({"PORT": str(self.port), "AGENTSERVER_STORE": "memory"})
        self.server: asyncio.subprocess.Process | None = None

    async def enter(self, block: Block) -> None:
        """Carry out the lines of *block*, and compare what the last one prints."""
        output = ""
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("cd "):
                self.directory = (self.directory / line.removeprefix("cd ")).resolve()
            elif line.startswith(SERVERS) and "# exit code" not in line:
                await self.serve(line)
            else:
                output = await self.printed(line)
        if block.output is not None:
            assert matches(output, block.output), output

    async def printed(self, line: str) -> str:
        """What *line* prints; it must end with the exit code that its comment says."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", line), cwd=self.directory, env=self.environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
        expected = re.search(r"# exit code (\d+)$", line)
        assert process.returncode == (int(expected[1]) if expected else 0), out.decode()
        return out.decode()

    async def serve(self, line: str) -> None:
        """Start the server of *line* in place of the last one, and wait until it listens."""
        await self.close()
        # Together with what it starts, so that it can be ended as a whole.
        self.server = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"exec {line}".replace("8088", str(self.port))),
            cwd=self.directory,
            env=self.environment,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        await asyncio.wait_for(self.listens(), DEADLINE)

    async def listens(self) -> None:
        """Wait until the server listens."""
        while True:
            assert self.server is not None
            assert self.server.returncode is None
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return

    async def close(self) -> None:
        """End the server."""
        if self.server is not None and self.server.returncode is None:
            os.killpg(self.server.pid, signal.SIGTERM)
            assert await asyncio.wait_for(self.server.wait(), DEADLINE) == 0


@asynccontextmanager
async def shell(directory: Path) -> AsyncGenerator[Shell, None]:
    """A shell in *directory*, from which the samples can be seen."""
    for name in ("samples", "docs"):
        (directory / name).symlink_to(ROOT / name)
    terminals = Shell(directory)
    try:
        yield terminals
    finally:
        await terminals.close()


@pytest.mark.parametrize(("document", "section"), SCENES, ids=[scene[1] for scene in SCENES])
async def test_every_command_line_runs_and_prints_what_the_document_says(
    document: str, section: str, tmp_path: Path
) -> None:
    async with shell(tmp_path) as terminals:
        for block in blocks(document, section):
            assert block.language == "bash"
            await terminals.enter(block)


def commands() -> Mapping[str, argparse.ArgumentParser]:
    """The parser of each command."""
    tables = (getattr(action, "choices", None) for action in build()._actions)
    return cast("Mapping[str, argparse.ArgumentParser]", next(filter(None, tables)))


@pytest.mark.parametrize("command", list(commands()))
def test_the_reference_names_every_option(command: str) -> None:
    parser = commands()[command]
    headings = [line for line in CLI.splitlines() if re.match(rf"## (.*, )?{command}(,|$)", line)]
    assert len(headings) == 1
    for action in parser._actions:
        for option in action.option_strings:
            assert option in {"-h", "--help"} or f"`{option}`" in CLI, option


def test_the_reference_names_every_exit_code_and_every_word_of_the_console() -> None:
    table = CLI.partition("| exit code | means |")[2].partition("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == [*map(int, Exit)]
    source = "".join(path.read_text() for path in (ROOT / "agentserver/cli/terminal").glob("*console.py"))
    words = re.findall(r'"(\w+)": Word\(', source)
    assert len(words) == 10
    for word in words:
        assert f"`/{word}" in CLI
