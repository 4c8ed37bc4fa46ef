"""A server as a process: started, killed and started again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from pathlib import Path

import pytest

from agentserver import InvocationHandler
from agentserver.client import LostConnectionError, ResponseError
from agentserver.testing import ServerEndedError, free_port, run_server
from tests.servers import ROOT
from tests.testing.agents import Echo

SAMPLE = ROOT / "samples" / "01_getting_started" / "main.py"


async def test_a_class_a_name_and_a_file_run_as_processes_of_their_own() -> None:
    for target in (Echo, "tests.testing.agents:Echo"):
        async with run_server(target) as server, server.client() as client:
            assert (await client.invoke("x")).json()["pid"] == server.process.pid != os.getpid()
            assert await server.stop() == 0
    async with run_server(SAMPLE) as server, server.client() as client:
        assert (await client.invoke("x")).text == "You said: x"


async def test_a_killed_server_comes_back_on_its_port_as_another_process() -> None:
    async with run_server(Echo) as server, server.client() as client:
        before = (await client.invoke("x")).json()["pid"]
        lost = asyncio.create_task(client.invoke("forever"))
        await server.until_printed("waiting")
        await server.restart()
        with pytest.raises(LostConnectionError):
            await lost
        after = (await client.invoke("x")).json()["pid"]
        await server.kill()
        assert not server.alive
        assert await server.exit_code() == -signal.SIGKILL
        assert before != after


async def test_a_server_that_dies_by_itself_can_be_started_again() -> None:
    async with run_server(Echo) as server, server.client() as client:
        with pytest.raises(LostConnectionError):
            await client.invoke("die")
        assert await server.exit_code() == 3
        await server.start()
        assert (await client.invoke("x")).json()["echo"] == "x"


async def test_what_a_server_says_is_kept_and_can_be_waited_for() -> None:
    async with run_server(Echo) as server, server.client() as client:
        await server.until_logged("listening on port")
        with pytest.raises(ResponseError):
            await client.invoke("no", invocation_id="inv-7")
        await server.until_logged("inv-7")
        with pytest.raises(AssertionError, match="'never said' in the server's log did not come"):
            await server.until_logged("never said", timeout=0.05)


async def test_a_server_that_does_not_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text("print('out'); raise SystemExit('no configuration')")
    with pytest.raises(ServerEndedError, match=r"exit code 1 before it listened:\nout\nno configuration"):
        async with run_server(program):
            pass


async def test_the_platforms_variables_are_the_given_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_AGENT_SESSION_ID", "from-outside")
    monkeypatch.setenv("PORT", "nonsense")
    async with run_server(Echo) as server, server.client() as client:
        assert (await client.invoke("x")).session_id != "from-outside"
    given = {"FOUNDRY_AGENT_SESSION_ID": "given"}
    async with run_server(Echo, environment=given) as server, server.client() as client:
        assert (await client.invoke("x")).session_id == "given"


async def test_a_class_that_no_other_process_can_import_is_refused() -> None:
    class Local(Echo):
        pass

    kind: type[InvocationHandler] = Local
    with pytest.raises(ValueError, match="write the class at the top of a module"):
        async with run_server(kind):
            pass


def test_a_free_port_can_be_listened_on_and_is_no_other_tests() -> None:
    random.seed(1)
    first = free_port()
    random.seed(1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", first))
        listener.listen()
        others = {free_port() for _ in range(50)}
    assert first not in others
    assert len(others) > 40


async def test_nothing_outlives_the_block() -> None:
    async with run_server(Echo) as server:
        process = server.process
    assert process.returncode == -signal.SIGKILL
