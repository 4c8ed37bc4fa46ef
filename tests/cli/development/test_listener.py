"""The socket of ``dev``: held while the server restarts, on the loopback unless told otherwise."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from agentserver.testing import until
from tests.cli.commands.test_dev import AGENT, listening, said, save
from tests.cli.process import cli
from tests.cli.pseudo_terminal import terminal
from tests.servers import ROOT, free_port


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent.py"
    path.write_text(AGENT)
    return path


async def test_it_listens_on_the_loopback_unless_told(agent: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        assert (await listening(screen)).startswith("http://127.0.0.1:")
    async with terminal("dev", str(agent), "--port", "0", "--host", "0.0.0.0") as screen:
        assert "every address of this machine" in await listening(screen)


async def test_no_request_is_refused_while_it_restarts(agent: Path) -> None:
    answers: list[str] = []
    failures: list[Exception] = []
    done = asyncio.Event()

    async def hammer(url: str) -> None:
        while not done.is_set():
            try:
                answers.append(await said(url))
            except aiohttp.ClientError as error:
                failures.append(error)

    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        hammering = [asyncio.create_task(hammer(url)) for _ in range(3)]
        for word in ("two", "three"):
            save(agent, AGENT.replace('"one"', f'"{word}"'))
            await screen.until("agent.py changed: restarted")
            await until(partial(answers.__contains__, word))
        done.set()
        await asyncio.gather(*hammering)
    assert not failures
    assert {"one", "two", "three"} == set(answers)


async def test_of_two_saves_within_a_second_the_last_is_served(agent: Path) -> None:
    os.utime(agent, (1_000_000_000, 1_000_000_000))
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        assert await said(url) == "one"
        save(agent, AGENT.replace('"one"', '"two"'))
        os.utime(agent, (1_000_000_000, 1_000_000_000))
        await screen.until("agent.py changed: restarted")
        assert await said(url) == "two"


async def test_requests_wait_while_the_file_is_broken(agent: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        save(agent, "def f(:\n")
        await screen.until("requests wait for a change")
        asking = asyncio.create_task(said(url))
        save(agent, AGENT.replace('"one"', '"mended"'))
        assert await asyncio.wait_for(asking, 20) == "mended"


async def test_an_agent_that_blocks_is_killed_after_a_second(agent: Path) -> None:
    blocking = AGENT.replace("return GREETING", "import time; time.sleep(3600)")
    save(agent, blocking)
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        asking = asyncio.create_task(said(url))
        await screen.until("has kept the event loop from running")
        save(agent, AGENT)
        await screen.until("the server did not end within 1 s and was killed")
        await screen.until("agent.py changed: restarted")
        with pytest.raises(aiohttp.ClientError):
            await asking
        assert await said(url) == "one"


async def test_what_the_code_says_of_its_end_delays_no_restart(agent: Path) -> None:
    slow = AGENT.replace("return GREETING", "import asyncio; print('asked'); await asyncio.sleep(3600)") + (
        "\n\nfrom agentserver import AgentHost\n"
        "host = AgentHost.create_builder().add_invocations(Echo)\n"
        "host.configure_shutdown(timeout=60, delay=60)\n"
    )
    save(agent, slow)
    async with terminal("dev", f"{agent}:host", "--port", "0") as screen:
        url = await listening(screen)
        asking = asyncio.create_task(said(url))
        await screen.until("asked")
        save(agent, slow.replace("3600", "0"))
        await screen.until("agent.py changed: restarted")
        await asyncio.wait([asking])


async def test_an_application_of_its_own_gets_the_held_socket(tmp_path: Path) -> None:
    sample = ROOT / "samples" / "07_self_hosted" / "main.py"
    program = tmp_path / "main.py"
    save(program, sample.read_text())
    async with terminal("dev", str(program), "--port", "0") as screen:
        await screen.until("Running on http://127.0.0.1:")
        port = re.match(r"\d+", await screen.until(" "))
        assert port is not None
        url = f"http://127.0.0.1:{port[0]}/v1/invocations"
        assert await said(url) == "You said: hi"
        save(program, sample.read_text().replace("You said", "You wrote"))
        await screen.until("Running on")
        assert await said(url) == "You wrote: hi"


async def test_a_taken_port_ends_it_with_1_and_what_to_do(agent: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = await cli("dev", str(agent), "--port", port)
    assert done.code == 1
    assert f"port {port} is taken: stop the process that listens on it, or give another --port" in done.err


async def test_an_address_of_another_machine_ends_it_with_1_and_what_to_do(agent: Path) -> None:
    done = await cli("dev", str(agent), "--port", str(free_port()), "--host", "192.0.2.1")
    assert done.code == 1
    assert "cannot listen on 192.0.2.1:" in done.err
