"""Handlers that the tests of `agentserver.testing` serve, at the top of a module as a process needs them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agentserver import BadRequestError, InvocationContext, InvocationHandler, ServerSentEvent


class Echo(InvocationHandler):
    """Echoes text, counts to three for ``count``, refuses ``no``, waits for ever on ``forever``."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        text = await request.text()
        if text == "no":
            raise BadRequestError("I do not like that")
        if text == "forever":
            await asyncio.Event().wait()
        if text == "die":
            os._exit(3)
        return {"echo": text, "session": context.session_id, "pid": os.getpid()}


class Counter(InvocationHandler):
    """Streams three events."""

    async def handle(
        self, request: web.Request, context: InvocationContext
    ) -> AsyncIterator[ServerSentEvent]:
        for number in range(3):
            yield ServerSentEvent(str(number), event="count")
