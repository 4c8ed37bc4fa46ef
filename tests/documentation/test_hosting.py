"""The portal of docs/hosting.md passes frames on, both ways, and adds what a page cannot."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver import InvocationContext, InvocationWebSocketHandler
from agentserver.client import InvocationsClient
from agentserver.testing import on_socket
from tests.documents import blocks


class Echo(InvocationWebSocketHandler):
    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.send_str(context.session_id)
        async for message in websocket:
            data: Any = message.data
            if data == "bye":
                return
            await (websocket.send_str(data) if isinstance(data, str) else websocket.send_bytes(data))


def session_of(request: web.Request) -> str:
    return "anna"


async def test_the_portal_passes_text_and_audio_on_both_ways_and_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (portal,) = [block.text for block in blocks("docs/hosting.md") if "def portal" in block.text]
    names: dict[str, Any] = {"PROJECT": "https://account.example/projects/p", "session_of": session_of}
    exec(compile(portal, "docs/hosting.md", "exec"), names)  # noqa: S102 - the page's own code is the subject
    async with on_socket(Echo) as agent:

        def hosted(project: str, name: str) -> InvocationsClient:
            assert (project, name) == (names["PROJECT"], "my-agent")
            return InvocationsClient(agent.url)

        monkeypatch.setattr(InvocationsClient, "hosted", hosted)
        application = web.Application()
        application.router.add_get("/ws", names["portal"])
        async with TestServer(application) as server, aiohttp.ClientSession() as browser:
            async with browser.ws_connect(server.make_url("/ws")) as page:
                assert await page.receive_str() == "anna"
                await page.send_bytes(b"\x00\x01")
                assert await page.receive_bytes() == b"\x00\x01"
                await page.send_str("hello")
                assert await page.receive_str() == "hello"
                await page.send_str("bye")
                assert (await page.receive()).type is aiohttp.WSMsgType.CLOSE
            assert page.close_code == 1000
