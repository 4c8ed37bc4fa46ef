"""A stand-in for the hosting platform: asks for token and preview flag, and echoes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

TOKEN = "a-token-of-this-test"  # noqa: S105 - nobody's
AGENT = "/api/projects/p/agents/a"
INVOCATIONS = f"{AGENT}/endpoint/protocols/invocations"
WEBSOCKET = "/api/projects/agents/endpoint/protocols/invocations_ws"

IDENTITY = f"""
import time
class Token:
    token = {TOKEN!r}
    expires_on = time.time() + 3600
class DefaultAzureCredential:
    async def get_token(self, *scopes):
        assert scopes == ("https://ai.azure.com/.default",)
        return Token
    async def close(self):
        pass
"""


class Platform:
    """What came, and where it is."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.url = ""

    @property
    def agent(self) -> str:
        """The agent's address, as a user gives it."""
        return self.url + AGENT

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a call."""
        self.seen.append(request)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": {"code": "unauthorized"}}, status=401)
        if not request.headers.get("Foundry-Features") or request.query.get("api-version") != "v1":
            return web.json_response({"error": {"code": "no_preview"}}, status=400)
        body = await request.read()
        if body.startswith(b"events"):
            return await self._stream(request, breaks=body.endswith(b"broken"))
        headers = {"x-agent-invocation-id": "i-1", "set-cookie": "a=b", "access-control-allow-origin": "*"}
        return web.Response(body=body, headers=headers, status=201 if body == b"created" else 200)

    async def _stream(self, request: web.Request, *, breaks: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(b"data: %d\n\n" % number)
            await asyncio.sleep(0.02)
        if breaks:
            assert request.transport is not None
            request.transport.abort()
        return response

    async def talk(self, request: web.Request) -> web.StreamResponse:
        """Echo on a WebSocket; ``close CODE REASON`` closes."""
        self.seen.append(request)
        allowed = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not allowed or request.query.get("agent_name") != "a" or request.query.get("project_name") != "p":
            return web.Response(status=401)
        websocket = web.WebSocketResponse(protocols=["chat"])
        await websocket.prepare(request)
        async for message in websocket:
            if message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)
            elif message.data.startswith("close "):
                _, code, reason = message.data.split(" ")
                await websocket.close(code=int(code), message=reason.encode())
            elif message.data == "vanish":
                assert request.transport is not None
                request.transport.abort()
            else:
                await websocket.send_str(message.data)
        self.seen.append(request)
        return websocket


@asynccontextmanager
async def platform() -> AsyncGenerator[Platform, None]:
    """Serve the stand-in on loopback."""
    made = Platform()
    app = web.Application()
    app.router.add_route("*", INVOCATIONS, made.answer)
    app.router.add_route("*", f"{INVOCATIONS}/{{rest:.*}}", made.answer)
    app.router.add_get(WEBSOCKET, made.talk)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address: Any = runner.addresses[0]
    made.url = f"http://127.0.0.1:{address[1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
