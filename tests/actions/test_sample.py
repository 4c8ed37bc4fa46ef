"""The sample of actions as real processes: server, terminal client, curl, a client of another make."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.actions.conversation import conversing
from tests.servers import DEADLINE, ROOT, ServerProcess, running
from tests.test_samples import BLOCK, curl, needs_curl
from tests.warm_start import warm_starts

SAMPLE = ROOT / "samples" / "10_websocket_actions"
README = (SAMPLE / "README.md").read_text()
TERMINAL = re.compile(r"```text\n(> Why.*?)```", re.DOTALL)
WIRE = re.compile(r"```text\n([<>] \{.*?)```", re.DOTALL)


def shown(pattern: re.Pattern[str]) -> str:
    found = pattern.search(README)
    assert found is not None
    return found[1]


@asynccontextmanager
async def serving() -> AsyncGenerator[ServerProcess, None]:
    """The sample, which must end without a traceback and with exit code 0."""
    async with running(SAMPLE / "main.py") as server:
        yield server
        server.terminate()
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)


class Terminal:
    """The sample's client, typed at."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout

    async def type(self, line: str) -> None:
        self.stdin.write(f"{line}\n".encode())
        await self.stdin.drain()

    async def until(self, text: str) -> str:
        said = await asyncio.wait_for(self.stdout.readuntil(text.encode()), DEADLINE)
        return said.decode()

    async def leave(self) -> int:
        self.stdin.close()
        return await asyncio.wait_for(self.process.wait(), DEADLINE)


@asynccontextmanager
async def terminal(*arguments: str) -> AsyncGenerator[Terminal, None]:
    pipe = asyncio.subprocess.PIPE
    with warm_starts():
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SAMPLE / "client.py"), *arguments, stdin=pipe, stdout=pipe, stderr=pipe
        )
    try:
        yield Terminal(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("way", [[], ["--sse"]], ids=["actions", "sse"])
async def test_the_terminal_answers_as_the_readme_says(way: list[str]) -> None:
    async with serving() as server, terminal(server.url, *way) as client:
        assert await client.until("> ") == "> "
        for typed, expected in re.findall(r"> (.*)\n(.*)\n", shown(TERMINAL)):
            await client.type(typed)
            assert await client.until("\n> ") == f"{expected}\n> "
        assert await client.leave() == 0


@pytest.mark.parametrize("way", [[], ["--sse"]], ids=["actions", "sse"])
async def test_ctrl_c_stops_the_answer_and_the_next_prompt_is_answered(way: list[str]) -> None:
    async with serving() as server, terminal(server.url, *way) as client:
        await client.until("> ")
        await client.type("a long one " * 1000)
        await client.until("You asked:")
        client.process.send_signal(signal.SIGINT)
        assert "(stopped)" in await client.until("\n> ")
        await client.type("How?")
        assert "And the answer" in await client.until("\n> ")
        assert await client.leave() == 0


async def test_without_a_server_the_terminal_says_so_in_one_line() -> None:
    async with terminal("http://127.0.0.1:9") as client:
        output, errors = await asyncio.wait_for(client.process.communicate(), DEADLINE)
    assert (client.process.returncode, output) == (1, b"")
    assert errors.count(b"\n") == 1


async def test_the_frames_are_those_that_the_readme_shows() -> None:
    async with serving() as server, conversing(server.url) as conversation:
        for line in shown(WIRE).splitlines():
            mark, text = line[0], line[2:]
            if mark == ">":
                await conversation.say(text)
                continue
            frame, expected = await conversation.frame(), json.loads(text)
            while expected["type"] == "error" and frame["type"] == "stream_chunk":
                frame = await conversation.frame()  # on its way when the cancel was sent
            assert frame == expected


async def test_a_payload_that_is_not_understood_says_what_to_send() -> None:
    async with serving() as server, conversing(server.url) as conversation:
        await conversation.invoke("i", "s", prompt=7)
        refusal = await conversation.error()
        assert refusal == {
            "invocation_id": "i",
            "session_id": "s",
            "code": "invalid_request",
            "message": "prompt: expected a string, got a whole number",
            "target": "$.prompt",
            "example": {"prompt": "Why?"},
        }


@needs_curl
async def test_curl_gets_the_events_that_the_readme_shows() -> None:
    (match,) = BLOCK.finditer(README)
    async with serving() as server:
        assert await asyncio.to_thread(curl, match["command"], server.url) == match["answer"].strip()
