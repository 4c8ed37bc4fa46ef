"""``dev`` in a real terminal: it starts anew on a change and talks to a developer."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from tests.cli.process import cli
from tests.cli.pseudo_terminal import Terminal, terminal
from tests.servers import DEADLINE

AGENT = """
from agentserver import InvocationHandler

GREETING = "one"

def helper():
    raise LookupError("no such word")

class Echo(InvocationHandler):
    async def handle(self, request, context):
        if await request.text() == "fail":
            helper()
        return GREETING
"""


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent.py"
    path.write_text(AGENT)
    return path


def save(path: Path, text: str) -> None:
    """What an editor does, outside the loop's eyes."""
    path.write_text(text)


async def listening(screen: Terminal) -> str:
    """Wait for the server and return its address."""
    await screen.until("listening on ")
    return (await screen.until(",")).rstrip(",") + "/invocations"


async def said(url: str, body: str = "hi") -> str:
    async with aiohttp.ClientSession() as client, client.post(url, data=body) as answer:
        return await answer.text()


@pytest.mark.alone
async def test_a_change_restarts_the_server_soon_and_says_so_in_one_line(agent: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        assert await said(url) == "one"
        seconds: list[float] = []
        for word in ("two", "three", "four"):
            save(agent, AGENT.replace('"one"', f'"{word}"'))
            await screen.until("agent.py changed: restarted in ")
            seconds.append(float((await screen.until(" s\n")).removesuffix(" s\n")))
            assert await said(url) == word
            await screen.until("POST /invocations 200")
    assert min(seconds) < 5  # of which 0.4 are the processor's: the machine may have other things to do
    lines = [line for line in screen.text.splitlines() if "POST" not in line]
    assert [re.sub(r"\d+", "0", line) for line in lines[3:]] == [
        "0:0:0 agent.py changed: restarted in 0.0 s"
    ] * 3


async def test_the_traceback_shows_the_developers_own_frames_alone(agent: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        assert "internal_error" in await said(url, "fail")
        shown = await screen.until("LookupError: no such word")
    files = re.findall(r'File "([^"]+)", line \d+, in (\w+)', shown)
    assert files == [(str(agent), "handle"), (str(agent), "helper")]


async def test_a_broken_file_is_reported_and_mended_by_the_next_change(agent: Path) -> None:
    save(agent, "def f(:\n")
    async with terminal("dev", str(agent), "--port", "0") as screen:
        await screen.until("agent.py cannot be imported: SyntaxError")
        await screen.until("the server ended with exit code 3; requests wait for a change")
        save(agent, AGENT)
        await screen.until("agent.py changed: restarted in")
    assert "importlib" not in screen.text


async def test_a_changed_file_of_another_kind_restarts_nothing(agent: Path, tmp_path: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        await listening(screen)
        (tmp_path / "notes.log").write_text("x")
        (tmp_path / "agent.yaml").write_text("kind: hosted")
        assert "notes.log" not in await screen.until("agent.yaml changed: restarted")


async def test_ctrl_c_ends_it_cleanly(agent: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        await listening(screen)
        screen.type("\x03")
        assert await screen.exit_code() == 0
    assert "Traceback" not in screen.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_server_does_not_outlive_it(agent: Path, number: signal.Signals) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        os.kill(screen.pid, number)
        await screen.exit_code()
        async with aiohttp.ClientSession() as client:
            deadline = time.monotonic() + DEADLINE
            while time.monotonic() < deadline:
                try:
                    async with client.post(url):
                        await asyncio.sleep(0.05)
                except aiohttp.ClientConnectionError:
                    return
    raise AssertionError("the server still answers")


async def test_a_missing_file_or_directory_ends_with_one_sentence(agent: Path, tmp_path: Path) -> None:
    done = await cli("dev", "no_such_file.py", cwd=tmp_path)
    assert (done.code, done.sentence) == (3, f"There is no file 'no_such_file.py' in {tmp_path}")
    done = await cli("dev", "agent.py", "--watch", "nowhere", cwd=tmp_path)
    assert done.code == 2
    assert done.sentence == f"There is no directory '{tmp_path}/nowhere' to watch"
