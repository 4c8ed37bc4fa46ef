"""A stand-in for the hosting platform: asks for token and preview flag, and echoes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

TOKEN = "a-token-of-this-test"  # noqa: S105 - nobody's
AGENT = "/api/projects/p/agents/a"
INVOCATIONS = f"{AGENT}/endpoint/protocols/invocations"
WEBSOCKET = "/api/projects/agents/endpoint/protocols/invocations_ws"

# A stand-in for azure-identity: the nth token holds for as many seconds as the nth figure of LIVES says.
IDENTITY = f"""
import os, time
LIVES = [float(seconds) for seconds in os.environ.get("LIVES", "3600").split()]
asked = 0
class Token:
    def __init__(self, number):
        self.token = {TOKEN!r} if number == 0 else f"{TOKEN}-{{number}}"
        self.expires_on = time.time() + LIVES[number]
class DefaultAzureCredential:
    async def get_token(self, *scopes):
        global asked
        assert scopes == ("https://ai.azure.com/.default",)
        if asked == len(LIVES):
            raise RuntimeError("nobody has signed in\\nand more of it")
        asked += 1
        return Token(asked - 1)
    async def close(self):
        pass
"""


def install_identity(directory: Path) -> None:
    """Put the stand-in for azure-identity where a process finds it that has *directory* on its path."""
    package = directory / "azure" / "identity"
    package.mkdir(parents=True)
    (directory / "azure" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "aio.py").write_text(IDENTITY)


class Platform:
    """What came, and where it is.

    Attributes:
        taken: The token that it takes.
        is_forbidden: Whether it knows the token's owner and refuses.
    """

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.url = ""
        self.taken = TOKEN
        self.is_forbidden = False

    @property
    def agent(self) -> str:
        """The agent's address, as a user gives it."""
        return self.url + AGENT

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a call."""
        self.seen.append(request)
        if refused := self._refused(request):
            return web.json_response({"error": {"code": "unauthorized"}}, status=refused)
        if not request.headers.get("Foundry-Features") or request.query.get("api-version") != "v1":
            return web.json_response({"error": {"code": "no_preview"}}, status=400)
        body = await request.read()
        if body.startswith(b"events"):
            return await self._stream(request, breaks=body.endswith(b"broken"))
        headers = {"x-agent-invocation-id": "i-1", "set-cookie": "a=b", "access-control-allow-origin": "*"}
        return web.Response(body=body, headers=headers, status=201 if body == b"created" else 200)

    def _refused(self, request: web.Request) -> int:
        if request.headers.get("Authorization") != f"Bearer {self.taken}":
            return 401
        return 403 if self.is_forbidden else 0

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
        if refused := self._refused(request):
            return web.Response(status=refused)
        if not request.headers.get("Foundry-Features"):
            return web.Response(status=400)
        if request.query.get("agent_name") != "a" or request.query.get("project_name") != "p":
            return web.Response(status=404)
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
