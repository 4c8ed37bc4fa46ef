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
from documentation.terminal import plain, terminal
from tests.cli.process import clean_environment
from tests.documents import Block, blocks, matches
from tests.servers import DEADLINE, ROOT, free_port

CLI = (ROOT / "docs" / "cli.md").read_text()
SCENES = [
    section
    for section in re.findall(r"^## (.+)$", CLI, re.MULTILINE)
    if "```bash" in CLI.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
]
SERVERS = re.compile(r"(\w+=\S+ )*agentserver (run|dev) ")
PICTURE = ROOT / "docs" / "pictures" / "terminal.svg"


class Shell:
    """A person's two terminals: one in which the server runs, one for everything else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "server.log"
        self.port = free_port()
        self.environment = clean_environment({"PORT": str(self.port), "AGENTSERVER_STORE": "memory"})
        self.server: asyncio.subprocess.Process | None = None
        self.seen: list[str] = []

    async def enter(self, block: Block) -> None:
        """Carry out the lines of *block*, and compare what the last one prints."""
        output = ""
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("cd "):
                self.directory = (self.directory / line.removeprefix("cd ")).resolve()
            elif SERVERS.match(line) and "# exit code" not in line:
                await self.serve(line)
            else:
                output = await self.printed(line)
                self.seen += [f"$ {line.partition(' 2>&1')[0]}", *output.splitlines()]
        if block.output is not None:
            assert matches(plain(output), block.output), output

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
        log = self.log.open("w")
        # Together with what it starts, so that it can be ended as a whole.
        self.server = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"exec env {line}".replace("8088", str(self.port))),
            cwd=self.directory,
            env=self.environment,
            stderr=log,
            start_new_session=True,
        )
        log.close()
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


@pytest.mark.parametrize("section", SCENES)
async def test_every_command_line_runs_and_prints_what_the_document_says(
    section: str, tmp_path: Path
) -> None:
    async with shell(tmp_path) as terminals:
        for block in blocks("docs/cli.md", section):
            assert block.language == "bash"
            await terminals.enter(block)


async def test_a_first_project_goes_as_the_start_page_says_and_as_its_picture_shows(tmp_path: Path) -> None:
    async with shell(tmp_path) as terminals:
        terminals.environment["FORCE_COLOR"] = "1"
        for block in blocks("docs/start.md", "A project of your own"):
            await terminals.enter(block)
        log = terminals.log.read_text()
        calls = terminals.seen[terminals.seen.index("""$ agentserver invoke '{"message": "hello"}'""") :]
    text = "\n".join(["$ agentserver dev my_agent.handler", *log.splitlines(), "", *calls])
    picture = terminal(same_always(text, tmp_path), "A terminal: an agent is started, and called")
    if "WRITE_PICTURES" in os.environ:
        PICTURE.write_text(picture)
    assert PICTURE.read_text() == picture, "make pictures draws it anew"


def same_always(text: str, directory: Path) -> str:
    """*text* with what differs from run to run made the same: paths, ports, times, ids."""
    text = text.replace(str(directory), "~")
    for what, instead in (
        (r"(inspector at http://127\.0\.0\.1):\d+/#[\w-]+", r"\1:40817/#…"),
        (r"127\.0\.0\.1:\d+, serving", "127.0.0.1:8088, serving"),
        (r"\d\d:\d\d:\d\d ", "12:00:00 "),
        (r"[\d.]+ ms", "1.5 ms"),
        (r'"request_id": "[0-9a-f]+"', '"request_id": "…"'),
    ):
        text = re.sub(what, instead, text)
    return text


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
