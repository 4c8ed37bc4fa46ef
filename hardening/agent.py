"""The agent that the long checks run: it streams and reads as much as it is told to, and as slowly."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler, InvocationsServer

CHUNK = bytes(65536)
GIB = 1 << 30


class Agent(InvocationHandler):
    """Echoes, or ``?stream=BYTES``, or ``?count`` (reads the body, says how long it was)."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        if "stream" in request.query:
            return self._stream(int(request.query["stream"]))
        if "count" in request.query:
            return await self._count(request, float(request.query["count"]))
        if "sleep" in request.query:
            await asyncio.sleep(float(request.query["sleep"]))
        return await request.read()

    async def _stream(self, size: int) -> AsyncIterator[bytes]:
        for _ in range(size // len(CHUNK)):
            yield CHUNK

    async def _count(self, request: web.Request, pause: float) -> str:
        total = 0
        async for chunk in request.content.iter_chunked(1 << 20):
            total += len(chunk)
            await asyncio.sleep(pause)
        return str(total)


def configure(builder: AgentHostBuilder) -> None:
    builder.configure(
        max_body_size=2 * GIB,
        max_connections=int(os.environ.get("MAX_CONNECTIONS", "10000")),
        header_timeout=float(os.environ.get("HEADER_TIMEOUT", "30")),
        body_timeout=float(os.environ.get("BODY_TIMEOUT", "60")),
        write_timeout=float(os.environ.get("WRITE_TIMEOUT", "60")),
    )


if __name__ == "__main__":
    InvocationsServer.run(Agent, configure=configure)
