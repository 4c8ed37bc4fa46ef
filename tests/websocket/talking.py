"""A host whose WebSocket talks as a test says, and an independent client of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from agentserver import (
    AgentHostBuilder,
    InvocationContext,
    InvocationHandler,
    InvocationsServerOptions,
    InvocationWebSocketHandler,
    map_invocations_server,
)
from tests.servers import DEADLINE, serving

CLOSE_EVENT = "invocations_ws connection closed"
FIELDS = "azure.ai.agentserver.invocations_ws"

Talk = Callable[[web.WebSocketResponse, InvocationContext], Awaitable[None]]


class Http(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return "over HTTP"


class Talking(InvocationWebSocketHandler):
    """Talks as the test says."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await self._talk(websocket, context)


async def echo(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        else:
            await websocket.send_bytes(message.data)


@asynccontextmanager
async def talking(
    talk: Talk = echo,
    environment: dict[str, str] | None = None,
    configure: Callable[[AgentHostBuilder], object] | None = None,
) -> AsyncGenerator[str, None]:
    """The URL of a host whose handler talks as *talk* says."""
    async with serving(Talking(talk), configure, environment) as client:
        yield f"{client._base_url}/invocations_ws"


def dialled(url: str, **options: Any) -> connect:
    return connect(url.replace("http", "ws", 1), proxy=None, max_size=None, **options)


async def code_of(client: ClientConnection) -> tuple[int | None, str]:
    """Wait for the end: the close code and reason that the server sent."""
    try:
        while True:
            await asyncio.wait_for(client.recv(), DEADLINE)
    except ConnectionClosed as closed:
        received = closed.rcvd
        return (received.code, received.reason) if received else (None, "")


async def event(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one close event, without the namespace of its fields."""
    while not (found := [record for record in caplog.records if record.getMessage() == CLOSE_EVENT]):
        await asyncio.sleep(0.005)
    (record,) = found
    assert record.levelno == logging.INFO
    assert record.exc_info is None
    return {
        name.removeprefix(FIELDS + "."): value
        for name, value in vars(record).items()
        if name.startswith(FIELDS)
    }


@asynccontextmanager
async def served(handler: InvocationHandler, options: InvocationsServerOptions) -> AsyncGenerator[str, None]:
    """*handler* inside an application of the user's, on aiohttp's own runner."""
    app = web.Application()
    map_invocations_server(app, handler, invocations=options)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/invocations_ws"
    finally:
        await runner.cleanup()
