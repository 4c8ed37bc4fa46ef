"""The shapes of the reference agent that speak the action protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from agentserver import ActionContext, InvocationActionHandler, InvocationContext, InvocationError

_OPENAPI = {"openapi": "3.0.3", "info": {"title": "reference-actions", "version": "1.0.0"}, "paths": {}}

Payload = Mapping[str, Any]


class Actions(InvocationActionHandler):
    """Answers every invocation once."""

    async def invoke(self, payload: Payload, context: ActionContext) -> Any:
        """Do what the payload's ``op`` says; echo it where it says nothing."""
        match payload.get("op"):
            case "context":
                return {"invocation_id": context.invocation_id, "session_id": context.session_id}
            case "hold":
                await asyncio.sleep(payload["ms"] / 1000)
                return {"held": True}
            case "raise":
                raise RuntimeError(payload["message"])
            case "fail":
                raise InvocationError(payload["code"], payload["message"])
            case _:
                return dict(payload)


class ActionsPing(Actions):
    """Pings every 300 ms."""

    ping_interval = 0.3


class ActionsStream(InvocationActionHandler):
    """Streams every invocation."""

    async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
        """Stream the payload's ``chunks``, or fail after the first one."""
        for index, chunk in enumerate(payload.get("chunks", ["partial"])):
            if index:
                await asyncio.sleep(payload.get("pause_ms", 0) / 1000)
            yield {"chunk": chunk}
        if payload.get("op") == "raise_mid_stream":
            raise RuntimeError(payload["message"])


class ActionsFull(Actions):
    """Overrides everything, HTTP too."""

    async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
        """Echo the body."""
        return web.Response(body=await request.read(), content_type=request.content_type)

    async def get_invocation(self, context: ActionContext) -> Any:
        """The status of any invocation; the id ``raise`` fails."""
        if context.invocation_id == "raise":
            raise RuntimeError("secret get detail")
        return {"status": "running"}

    async def cancel_invocation(self, context: ActionContext) -> Any:
        """Say that it is cancelled."""
        return {"status": "cancelled"}

    async def get_actions_openapi(self, request: web.Request) -> Any:
        """The document."""
        return _OPENAPI
