"""An agent that answers in every way there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from aiohttp import web

from agentserver import InvocationContext, InvocationHandler, NotFoundError, ServerSentEvent


class TalkativeHandler(InvocationHandler):
    """Says what it was sent, or does what the body says."""

    polls: ClassVar[int] = 0

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        text = (await request.read()).decode(errors="replace")
        if text == "events":
            return self.events()
        if text == "pieces":
            return self.pieces()
        if text == "many":
            return "a line\n" * 100_000
        if text == "cut":
            return self.cut()
        if text == "hang":
            await asyncio.Event().wait()
        if text == "secret":
            raise web.HTTPUnauthorized
        return {
            "type": request.content_type,
            "body": text,
            "invocation": context.invocation_id,
            "session": context.session_id,
            "query": dict(request.query),
            "token": request.headers.get("Authorization"),
            "mood": context.client_headers.get("x-client-mood"),
        }

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("hello")
        yield ServerSentEvent('{"n": 1}', event="count", id="7")

    async def pieces(self) -> AsyncIterator[str]:
        yield "one "
        yield "two"

    async def cut(self) -> AsyncIterator[str]:
        yield "one "
        raise RuntimeError("out of words")

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        if invocation_id == "unknown":
            raise NotFoundError("There is no such invocation")
        TalkativeHandler.polls += 1
        return {"status": "running" if TalkativeHandler.polls < 4 else "done", "id": invocation_id}

    async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return {"status": "cancelled", "id": invocation_id}
