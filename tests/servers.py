"""Servers under test: a host inside the test's loop, or a real process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from agentserver import AgentHost, AgentHostBuilder, FoundryEnvironment
from agentserver.invocations._activation import HandlerSource

ROOT = Path(__file__).parent.parent
DEADLINE = 20.0


@asynccontextmanager
async def serving(
    handler: HandlerSource,
    configure: Callable[[AgentHostBuilder], object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A client of a host that serves *handler* on a free port."""
    builder = AgentHost.create_builder(FoundryEnvironment.read(environment or {}))
    builder.add_invocations(handler)
    builder.configure(host="127.0.0.1", port=0)
    if configure is not None:
        configure(builder)
    async with (
        builder.build() as host,
        aiohttp.ClientSession(f"http://127.0.0.1:{host.port}", auto_decompress=False) as client,
    ):
        yield client


async def exchange_raw(port: int, data: bytes) -> bytes:
    """Send *data* as it is and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), DEADLINE)
    finally:
        writer.close()


class ServerProcess:
    """A Python program that serves on a port of its own, as a real process."""

    def __init__(self, process: asyncio.subprocess.Process, log: list[str]) -> None:
        self.process = process
        self.log = log
        self.url = ""

    def terminate(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait for the end."""
        return await asyncio.wait_for(self.process.wait(), DEADLINE)


@asynccontextmanager
async def running(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    wait: bool = True,
) -> AsyncGenerator[ServerProcess, None]:
    """Run ``python ARGUMENTS`` until it listens or ends; it is killed at the end of the block if it lives.

    With *wait* off the block begins at once.
    """
    number = free_port() if port is None else port
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, arguments),
        cwd=ROOT,
        env={**os.environ, "PORT": str(number), **(environment or {})},
        stderr=asyncio.subprocess.PIPE,
    )
    server = ServerProcess(process, [])
    server.url = f"http://127.0.0.1:{number}"
    reading = asyncio.create_task(_read_log(server))
    try:
        if wait:
            await asyncio.wait_for(_until_it_listens(process, number), DEADLINE)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _until_it_listens(process: asyncio.subprocess.Process, port: int) -> None:
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def _read_log(server: ServerProcess) -> None:
    assert server.process.stderr is not None
    async for line in server.process.stderr:
        server.log.append(line.decode())


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
