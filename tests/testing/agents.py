"""Handlers that the tests of `agentserver.testing` serve, at the top of a module as a process needs them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from agentserver import (
    ActionContext,
    BadRequestError,
    InvocationActionHandler,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    ServerSentEvent,
)


class Echo(InvocationHandler):
    """Echoes text, counts to three for ``count``, refuses ``no``, waits for ever on ``forever``."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        text = await request.text()
        if text == "no":
            raise BadRequestError("I do not like that")
        if text == "forever":
            print("waiting")
            await asyncio.Event().wait()
        if text == "die":
            os._exit(3)
        return {"echo": text, "session": context.session_id, "pid": os.getpid()}


class Slow(InvocationHandler):
    """Echoes text, but takes for ever for ``slow``."""

    async def handle(self, request: web.Request, context: InvocationContext) -> str:
        text = await request.text()
        if text == "slow":
            print("slow began")
            await asyncio.Event().wait()
        return text


class Counter(InvocationHandler):
    """Streams three events, and no end after ``for ever``."""

    async def handle(
        self, request: web.Request, context: InvocationContext
    ) -> AsyncIterator[ServerSentEvent]:
        for number in range(3):
            yield ServerSentEvent(str(number), event="count")
        if await request.text() == "for ever":
            await asyncio.Event().wait()


class Parrot(InvocationWebSocketHandler):
    """Repeats what it hears; ``bye`` makes it close, ``oops`` makes it fail."""

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for message in websocket:
            if message.data == "bye":
                await websocket.close(code=4001, message=b"as you wish")
            elif message.data == "oops":
                raise RuntimeError("a secret")
            elif message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
            else:
                await websocket.send_bytes(message.data)


class Adder(InvocationActionHandler):
    """Adds numbers, one payload for each partial sum; ``then: wait`` never ends."""

    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncIterator[int]:
        total = 0
        for number in payload["numbers"]:
            total += number
            yield total
        if payload.get("then") == "wait":
            await asyncio.Event().wait()
