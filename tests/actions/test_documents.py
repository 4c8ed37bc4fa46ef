"""Every program and every frame that the documents show is run."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.actions.conversation import Conversation, conversing
from tests.documents import Block, blocks
from tests.servers import DEADLINE, ROOT, ServerProcess, running
from tests.warm_start import warm_starts

PAGE = "docs/actions.md"
SECTION = "Many at once, from Python"


@asynccontextmanager
async def program(block: Block, directory: Path, name: str) -> AsyncGenerator[ServerProcess, None]:
    (directory / name).write_text(block.text)
    async with running(directory / name) as server:
        yield server
        server.terminate()
        assert await server.exit_code() == 0


async def follow(conversation: Conversation, lines: list[str]) -> None:
    for line in lines:
        mark, text = line[0], line[2:]
        if mark == ">":
            await conversation.say(text)
            continue
        frame, expected = await conversation.frame(), json.loads(text)
        while expected["type"] == "error" and frame["type"] == "stream_chunk":
            frame = await conversation.frame()  # on its way when the cancel was sent
        assert frame == expected


async def test_the_frames_are_those_that_the_document_shows(tmp_path: Path) -> None:
    (jobs,) = blocks(PAGE, "The handler")
    async with program(jobs, tmp_path, jobs.name) as server:
        for title in ("What goes over the wire", "Cancelling"):
            (shown,) = blocks(PAGE, title)
            async with conversing(server.url) as conversation:
                await follow(conversation, shown.text.splitlines())


async def test_two_streams_on_one_connection_as_the_document_shows(tmp_path: Path) -> None:
    counter, count, run_count = blocks(PAGE, SECTION)
    assert run_count.text == "python count.py\n"
    async with program(counter, tmp_path, "counter.py") as server:
        (tmp_path / "count.py").write_text(count.text.replace("http://localhost:8088", server.url))
        with warm_starts():
            process = await asyncio.create_subprocess_exec(
                sys.executable, tmp_path / "count.py", stdout=asyncio.subprocess.PIPE
            )
        output, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 0
    assert output.decode() == run_count.output


def test_the_document_names_the_defaults_of_the_class() -> None:
    from agentserver import InvocationActionHandler

    text = (ROOT / PAGE).read_text()
    for name in ("max_concurrent_invocations", "ping_interval"):
        found = re.search(rf"\| `{name}` \| (\d+) \|", text)
        assert found is not None
        assert float(found[1]) == getattr(InvocationActionHandler, name)
