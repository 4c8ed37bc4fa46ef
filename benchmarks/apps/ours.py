"""Ours, as the quick start runs it: each agent imports what it needs."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

# As a new project has them, where both are somebody else's.
# isort: off
from agentserver import InvocationContext, InvocationHandler, InvocationsServer
from aiohttp import WSMsgType, web
# isort: on

EVENTS = int(os.environ["BENCH_EVENTS"])
PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> web.Response:
        return web.Response(body=await request.read())


def events() -> type[Any]:
    import json

    from agentserver import ServerSentEvent

    class Events(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
            await request.read()
            for number in range(EVENTS):
                yield ServerSentEvent(json.dumps({"token": number}))

    return Events


def websocket_echo() -> type[Any]:
    from agentserver import InvocationWebSocketHandler

    class WebSocketEcho(InvocationWebSocketHandler):
        async def handle_websocket(
            self, websocket: web.WebSocketResponse, context: InvocationContext
        ) -> None:
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    await websocket.send_str(message.data)
                elif message.type is WSMsgType.BINARY:
                    await websocket.send_bytes(message.data)

    return WebSocketEcho


def actions() -> type[Any]:
    from agentserver import ActionContext, InvocationActionHandler

    class Actions(InvocationActionHandler):
        async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> Mapping[str, Any]:
            return payload

    return Actions


def paced_events() -> type[Any]:
    import asyncio
    import json

    from agentserver import ServerSentEvent

    class PacedEvents(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
            await request.read()
            for number in range(EVENTS):
                yield ServerSentEvent(json.dumps({"token": number}))
                await asyncio.sleep(PAUSE)

    return PacedEvents


def paced_websocket() -> type[Any]:
    import asyncio
    import json

    from agentserver import InvocationWebSocketHandler

    class PacedWebSocket(InvocationWebSocketHandler):
        async def handle_websocket(
            self, websocket: web.WebSocketResponse, context: InvocationContext
        ) -> None:
            async for _ in websocket:
                for number in range(EVENTS):
                    await websocket.send_str(json.dumps({"token": number}))
                    await asyncio.sleep(PAUSE)

    return PacedWebSocket


def paced_actions() -> type[Any]:
    import asyncio

    from agentserver import ActionContext, InvocationActionHandler

    class PacedActions(InvocationActionHandler):
        max_concurrent_invocations = 1000

        async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncIterator[Any]:
            for number in range(EVENTS):
                yield {"token": number}
                await asyncio.sleep(PAUSE)

    return PacedActions


HANDLERS = {"http": lambda: Echo, "sse": events, "ws": websocket_echo, "actions": actions}
HANDLERS |= {"sse_paced": paced_events, "ws_paced": paced_websocket, "actions_paced": paced_actions}

InvocationsServer.run(HANDLERS[sys.argv[1]]())
