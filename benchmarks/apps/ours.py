"""Ours, as the quick start runs it."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationContext,
    InvocationHandler,
    InvocationsServer,
    InvocationWebSocketHandler,
)

EVENTS = int(os.environ["BENCH_EVENTS"])


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> web.Response:
        return web.Response(body=await request.read())


class Events(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
        import json

        from agentserver import ServerSentEvent

        await request.read()
        for number in range(EVENTS):
            yield ServerSentEvent(json.dumps({"token": number}))


class WebSocketEcho(InvocationWebSocketHandler):
    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)


class Actions(InvocationActionHandler):
    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> Mapping[str, Any]:
        return payload


HANDLERS = {"http": Echo, "sse": Events, "ws": WebSocketEcho, "actions": Actions}

InvocationsServer.run(HANDLERS[sys.argv[1]])
