"""What the inspector's tests develop: an agent that does what the body says."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web

from agentserver import InvocationContext, InvocationsServer, InvocationWebSocketHandler, ServerSentEvent

logger = logging.getLogger("developed")
HTML = "<img src=x onerror=alert(1)><script>alert(2)</script>"
HOSTILE = f"{HTML}\x1b[31m\u202e"


class DevelopedHandler(InvocationWebSocketHandler):
    """Echoes; streams for ``events N``; raises for ``fail``; speaks HTML for ``hostile``."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        body = await request.read()
        word, _, value = body.decode(errors="replace").partition(" ")
        if word == "events":
            return self.events(int(value))
        if word == "clock":
            return self.clock()
        if word == "headers":
            return web.Response(text=HTML, content_type="text/html", headers={"x-html": HTML})
        if word == "fail":
            raise LookupError("no such word")
        if word == "log":
            logger.warning("the agent says %s", value)
        if word == "secret":
            return os.environ["DEVELOPED_SECRET"][:1]
        if word == "hostile":
            return self.hostile()
        return web.Response(body=body, headers={"x-said": "yes"}, content_type="application/octet-stream")

    async def events(self, count: int) -> AsyncIterator[ServerSentEvent]:
        for number in range(count):
            yield ServerSentEvent(f"event {number}", event="token", id=str(number))
            await asyncio.sleep(0.01)

    async def clock(self) -> AsyncIterator[ServerSentEvent]:
        for gap in range(0, 40, 2):
            await asyncio.sleep(gap / 1000)
            yield ServerSentEvent(str(time.monotonic_ns()))

    async def hostile(self) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent(HOSTILE, event="<b>bold</b>")
        yield ServerSentEvent("\x1b[2J" * 250_000)

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for message in websocket:
            if message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
            elif message.data.startswith("close "):
                _, code, reason = message.data.split(" ", 2)
                await websocket.close(code=int(code), message=reason.encode())
            elif message.data == "fail":
                raise LookupError("no such word")
            elif message.data == "ping":
                await websocket.ping(b"agent")
            else:
                await websocket.send_str(message.data)

    async def get_openapi(self, request: web.Request) -> dict[str, Any]:
        return {"openapi": "3.1.0", "info": {"title": "Developed", "version": "1"}, "paths": {}}


if __name__ == "__main__":
    InvocationsServer.run(DevelopedHandler)
