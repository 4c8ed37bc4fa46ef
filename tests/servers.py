"""Servers under test, as the project's own tests like them: `agentserver.testing` and aiohttp's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from agentserver.invocations._handler_source import HandlerSource
from agentserver.testing import ServerProcess, free_port, on_socket, run_server
from agentserver.testing.agent import Configure
from tests.warm_start import warm_starts

__all__ = ["DEADLINE", "ROOT", "ServerProcess", "exchange_raw", "free_port", "running", "serving"]

ROOT = Path(__file__).parent.parent
DEADLINE = 20.0


@asynccontextmanager
async def serving(
    handler: HandlerSource,
    configure: Configure | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A client of a host that serves *handler* on a free port; bodies stay as they came."""
    async with (
        on_socket(handler, configure, environment=environment) as agent,
        aiohttp.ClientSession(agent.url, auto_decompress=False) as client,
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


@asynccontextmanager
async def running(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    wait: bool = True,
    cwd: Path = ROOT,
) -> AsyncGenerator[ServerProcess, None]:
    """Run ``python ARGUMENTS`` until it listens or ends; it is killed at the end of the block if it lives.

    With *wait* off the block begins at once.
    """
    async with AsyncExitStack() as stack:
        with warm_starts():
            server = await stack.enter_async_context(
                run_server(*arguments, environment=environment, port=port, cwd=cwd, wait=False)
            )
        if wait:
            await server.listens()
        yield server
