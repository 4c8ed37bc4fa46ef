"""The configurations of the page on proxies work, with nginx and haproxy where they are installed."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.documents import blocks
from tests.servers import DEADLINE, free_port, running

PAGE = "docs/proxies.md"
PROGRAM = """
import asyncio
from agentserver import InvocationsServer, InvocationWebSocketHandler, ServerSentEvent

class Agent(InvocationWebSocketHandler):
    async def handle(self, request, context):
        received = await request.text()
        return self.events() if received == "events" else self.text(received)

    async def events(self):
        yield ServerSentEvent("one")
        await asyncio.sleep(1)
        yield ServerSentEvent("two")

    async def text(self, received):
        yield received[:3]
        await asyncio.sleep(1)
        yield received[3:]

    async def handle_websocket(self, websocket, context):
        async for message in websocket:
            await websocket.send_str(message.data.upper())

InvocationsServer.run(Agent)
"""


def nginx(shown: str, directory: Path) -> tuple[str, list[str]]:
    """What is to be written for nginx around the *shown* configuration, and the command to run it."""
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    rest = "".join(f"{name}_temp_path {directory}/{name};\n" for name in paths)
    text = f"pid {directory}/pid; daemon off; error_log stderr; events {{}}\n"
    text += f"http {{ access_log off; {rest}{shown} }}"
    return text, ["nginx", "-p", str(directory), "-c", str(directory / "proxy.conf")]


def haproxy(shown: str, directory: Path) -> tuple[str, list[str]]:
    return shown, ["haproxy", "-db", "-f", str(directory / "proxy.conf")]


PROXIES = {"nginx": nginx, "haproxy": haproxy}


@asynccontextmanager
async def proxied(
    name: str, write: Callable[[str, Path], tuple[str, list[str]]], directory: Path
) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A client of an agent behind the proxy *name*, configured as the page shows."""
    (shown,) = (block.text for block in blocks(PAGE) if block.language == name)
    (directory / "main.py").write_text(PROGRAM)
    port = free_port()
    async with running(directory / "main.py") as agent:
        shown = shown.replace("127.0.0.1:8088", f"127.0.0.1:{agent.port}")
        text, command = write(re.sub(r"\b8080\b", str(port), shown), directory)
        (directory / "proxy.conf").write_text(text)
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                await asyncio.wait_for(ready(client), DEADLINE)
                yield client
        finally:
            process.terminate()
            await process.wait()


async def ready(client: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with client.get("/readiness") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", PROXIES)
async def test_a_proxy_passes_on_streams_as_they_come_websockets_and_ids(name: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    now = asyncio.get_running_loop().time
    async with proxied(name, PROXIES[name], tmp_path) as client:
        for body, first in (("events", b"data: one\n"), ("text", b"tex")):
            begin = now()
            headers = {"x-agent-invocation-id": "i-1", "Accept-Encoding": "identity"}
            async with client.post("/invocations", data=body, headers=headers) as answer:
                assert await answer.content.readexactly(len(first)) == first
                assert now() - begin < 0.8
                await answer.read()
                assert answer.headers["x-agent-invocation-id"] == "i-1"
                assert answer.headers["x-platform-server"].startswith("agentserver-core/")
        async with client.ws_connect("/invocations_ws") as websocket:
            await websocket.send_str("hello")
            assert await websocket.receive_str(timeout=DEADLINE) == "HELLO"
