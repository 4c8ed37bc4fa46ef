"""The agent that clients leave: it answers, streams, waits and talks, and says what it holds."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from agentserver import (
    AgentHostBuilder,
    InvocationContext,
    InvocationsServer,
    InvocationsServerOptions,
    InvocationWebSocketHandler,
)


class Agent(InvocationWebSocketHandler):
    """Answers, streams (``?stream``), waits for its client to leave (``?wait``), echoes, floods."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        """Echo, or what the query asks for."""
        if "stream" in request.query:
            return _stream(int(request.query["stream"]))
        if "wait" in request.query:
            await asyncio.sleep(60)
        return await request.read()

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        """What this process holds."""
        gc.collect()
        return _figures()

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Echo text; say goodbye on ``bye``; send without end on ``flood``."""
        async for message in websocket:
            if message.data == "bye":
                return
            while message.data == "flood":
                await websocket.send_bytes(bytes(65_536))
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)


async def _stream(pieces: int) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        yield bytes(1024)
        await asyncio.sleep(0)


def _figures() -> dict[str, int]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "objects": len(gc.get_objects()),
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
    }


def _configure(builder: AgentHostBuilder) -> None:
    builder.configure(request_logging=False, shutdown_timeout=2.0)


if __name__ == "__main__":
    InvocationsServer.run(
        Agent, configure=_configure, options=InvocationsServerOptions(websocket_close_timeout=0.3)
    )
