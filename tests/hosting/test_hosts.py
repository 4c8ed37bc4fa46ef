"""Builders and hosts: one host of each builder, and one host of the process's command line."""

from __future__ import annotations

import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agentserver import AgentHost, FoundryEnvironment, InvocationContext, InvocationHandler
from agentserver.errors import ConfigurationError
from tests.servers import free_port, running

# A program that uses a host of its own beside the one that it runs.
TWO_HOSTS = """
import asyncio
from agentserver import AgentHost, InvocationHandler, InvocationsServer

class Echo(InvocationHandler):
    async def handle(self, request, context):
        return await request.read()

async def trial():
    builder = AgentHost.create_builder().add_invocations(Echo).configure(host="127.0.0.1", port=0)
    async with builder.build() as host:
        print("the trial listened on", host.port, flush=True)

if __name__ == "__main__":
    asyncio.run(trial())
    InvocationsServer.run(Echo, configure=lambda builder: builder.configure(port=1))
"""


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> bytes:
        return await request.read()


@pytest.mark.parametrize("with_app", [False, True])
def test_a_builder_makes_one_host(with_app: bool) -> None:
    builder = AgentHost.create_builder(FoundryEnvironment.read({})).add_invocations(Echo)
    assert not with_app or builder.app is not None
    builder.build()
    with pytest.raises(ConfigurationError, match=r"build\(\) was called already: .* create another"):
        builder.build()


async def test_a_builder_that_could_not_build_may_try_again() -> None:
    builder = AgentHost.create_builder(FoundryEnvironment.read({}))
    with pytest.raises(ConfigurationError, match="serves no protocol"):
        builder.build()
    builder.add_invocations(Echo).configure(host="127.0.0.1", port=0)
    async with builder.build() as host:
        assert host.port


async def test_the_port_of_the_command_line_reaches_only_the_host_that_is_run(tmp_path: Path) -> None:
    path = tmp_path / "two.py"
    path.write_text(TWO_HOSTS)
    port = free_port()
    command = ("-m", "agentserver.cli", "run", path, "--port", str(port), "--host", "127.0.0.1")
    async with running(*command, port=port) as server:
        (line,) = [line for line in server.output if "trial" in line]
        assert int(line.split()[-1]) != port
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{server.url}/invocations", data="x") as answer,
        ):
            assert await answer.text() == "x"
        assert await server.stop() == 0


async def test_a_shutdown_hook_that_exits_keeps_no_other_from_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []
    builder = AgentHost.create_builder(FoundryEnvironment.read({})).add_invocations(Echo)
    builder.configure(host="127.0.0.1", port=0)
    builder.configure_shutdown(hook=lambda: ran.append("first registered"))
    builder.configure_shutdown(hook=lambda: sys.exit(3))
    async with builder.build():
        pass
    assert ran == ["first registered"]
    assert "shutdown hook" in caplog.text
