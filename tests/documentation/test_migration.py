"""The agents of the pages on moving over answer as the pages say: before where that can be run, and after.

The C# of the other page is not run: .NET and its library are not at hand here. The page says so, and its
Python half is run with the programs of the other pages (`tests/test_pages.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentserver.testing.environment import without_platform
from tests.documents import Block, blocks, matches
from tests.servers import ROOT, ServerProcess, free_port
from tests.stage import Stage
from tests.test_pages import needs_curl, printed

PAGE = "docs/migrate-python.md"
PEER = ROOT / "parity" / ".venv" / "bin" / "python"

needs_peer = pytest.mark.skipif(
    not PEER.exists(), reason="the official package is not installed: make migration"
)

BEFORE, AFTER, *COMMANDS = list(blocks(PAGE))

# Prints every option, method and setting of the official package, as JSON.
ASK = """
import inspect, json
from azure.ai.agentserver.core import AgentConfig, AgentServerHost, get_request_context
from azure.ai.agentserver.invocations import InvocationAgentServerHost
from starlette.applications import Starlette
def parameters(function):
    return [name for name in inspect.signature(function).parameters if name not in ("self", "kwargs")]
hosts = [InvocationAgentServerHost, AgentServerHost]
names = [name for host in hosts for name in parameters(host.__init__)]
names += [name for name in dir(hosts[0]) if name[0] != "_" and not hasattr(Starlette, name)]
names += [name for name in dir(get_request_context()) if name[0] != "_"]
print(json.dumps(names + parameters(AgentConfig.__init__)))
"""


def compact(text: str) -> str:
    """*text* without the spaces that some writers of JSON put into it."""
    return re.sub(r'(?<=["}\]\d])([:,]) ', r"\1", text)


def wrong_answers(port: int) -> Iterator[tuple[str, str]]:
    for command in COMMANDS:
        assert command.output is not None
        answer = printed(command.text, port)
        if not matches(compact(answer), compact(command.output)):
            yield command.text, answer


def write(directory: Path, block: Block) -> Path:
    (directory / block.name).write_text(block.text)
    return directory / block.name


def test_the_page_has_a_program_before_and_one_after() -> None:
    assert (BEFORE.name, AFTER.name) == ("before.py", "after.py")
    assert len(COMMANDS) > 5


@needs_curl
def test_the_agent_after_answers_as_the_page_says(stage: Stage, tmp_path: Path) -> None:
    with stage.play(write(tmp_path, AFTER)) as port:
        assert [*wrong_answers(port)] == []


@needs_peer
@needs_curl
async def test_the_agent_before_answers_the_same_on_the_official_package(tmp_path: Path) -> None:
    port = free_port()
    environment = {**without_platform(os.environ), "PORT": str(port)}
    command = [str(PEER), str(write(tmp_path, BEFORE))]
    server = ServerProcess(command, port=port, environment=environment, cwd=tmp_path)
    await server.start()
    try:
        assert await asyncio.to_thread(lambda: [*wrong_answers(port)]) == []
    finally:
        await server.kill()


@needs_peer
def test_every_option_and_name_of_the_official_package_is_on_the_page() -> None:
    names = subprocess.run([PEER, "-c", ASK], capture_output=True, text=True, check=True).stdout
    text = (ROOT / PAGE).read_text()
    missing = [name for name in json.loads(names) if not re.search(rf"\b{name}\b", text)]
    assert missing == []
