"""The sample's portal, and its page in a browser that has a recording for a microphone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio

from agentserver.testing import free_port
from tests.servers import ROOT, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLE = ROOT / "samples" / "12_voice_pipecat"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@asynccontextmanager
async def portal_of(agent: str) -> AsyncGenerator[str, None]:
    """The portal's address, in front of the agent at *agent*."""
    port = free_port()
    variables = {"AGENT_URL": agent, "PORTAL_PORT": str(port)}
    async with running(SAMPLE / "portal.py", environment=variables, wait=False):
        async with aiohttp.ClientSession() as client:
            while True:
                try:
                    async with client.get(f"http://localhost:{port}/"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield f"http://localhost:{port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def portal() -> AsyncGenerator[str, None]:
    async with running(SAMPLE / "main.py") as server, portal_of(server.url) as url:
        yield url


async def test_the_portal_passes_frames_and_the_end_on(portal: str) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{portal}/voice?session=of-a-page", origin=portal) as page,
    ):
        assert (await page.receive_json())["session_id"] == "of-a-page"
        await page.send_str("what?")
        assert (await page.receive_json())["type"] == "error"
        await page.send_json({"type": "end"})
        await page.receive()
        assert page.close_code == 1000


async def test_a_page_of_somebody_else_is_refused(portal: str) -> None:
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{portal}/voice?session=of-a-page", origin="https://other.example")
    assert refused.value.status == 403


async def test_a_page_learns_that_there_is_no_agent() -> None:
    async with (
        portal_of(f"http://127.0.0.1:{free_port()}") as url,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{url}/voice?session=of-a-page", origin=url) as page,
    ):
        await page.receive()
        assert page.close_code == 1011
