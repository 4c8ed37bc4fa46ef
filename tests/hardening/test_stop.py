"""Stopping: under load, during start-up, with threads that never end, and by force."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import aiohttp

from tests.servers import ServerProcess, running

MODULE = ("-m", "tests.agents")
TIMEOUT = "AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS"


async def test_sigterm_during_start_up_ends_with_0_and_runs_the_shutdown_hooks() -> None:
    async with running(*MODULE, environment={"SLOW_START": "60"}, wait=False) as server:
        await server.until_logged("starting", timeout=20)
        server.terminate()
        begin = time.monotonic()
        assert await server.exit_code() == 0
        assert time.monotonic() - begin < 20
    log = "".join(server.log)
    assert "stopped while starting" in log
    assert "Traceback" not in log


async def test_a_thread_that_never_ends_does_not_keep_the_process() -> None:
    async with running(*MODULE, environment={TIMEOUT: "0.2"}) as server, aiohttp.ClientSession() as client:
        request = asyncio.create_task(ask(client, f"{server.url}/invocations", "thread 600"))
        await asyncio.wait_for(until_started(client, server, 1), 20)
        server.terminate()
        assert (await request)[0] == 503
        begin = time.monotonic()
        assert await server.exit_code() == 0
        assert time.monotonic() - begin < 20
    assert "ending without 1 threads that are still busy" in "".join(server.log)


async def until_started(client: aiohttp.ClientSession, server: ServerProcess, number: int) -> None:
    """Wait until so many handlers run; asking counts for none."""
    while (await ask(client, f"{server.url}/invocations", "count"))[1] != str(number):
        await asyncio.sleep(0.02)


async def ask(client: aiohttp.ClientSession, url: str, body: str) -> tuple[int, str]:
    async with client.post(url, data=body) as response:
        return response.status, await response.text()


async def outcome(client: aiohttp.ClientSession, url: str, kind: str) -> tuple[str, int, str]:
    """What became of a request, in words."""
    async with client.post(f"{url}/invocations", data=kind) as response:
        text = ""
        try:
            async for chunk in response.content.iter_any():
                text += chunk.decode()
        except aiohttp.ClientPayloadError:
            return kind, response.status, f"cut after {text!r}"
        if response.status != 200:
            text = json.loads(text)["error"]["code"]
        return kind, response.status, text


async def test_sigterm_under_load_finishes_what_can_be_finished_and_cuts_the_rest_at_the_deadline() -> None:
    """Two hundred requests and fifty sockets in flight: no response is half a lie."""
    kinds = ["wind-down", "stream-wind-down"] * 75 + ["forever", "stream 600"] * 25
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        running(*MODULE, environment={TIMEOUT: "4"}) as server,
        aiohttp.ClientSession(connector=connector) as client,
    ):
        requests = [asyncio.create_task(outcome(client, server.url, kind)) for kind in kinds]
        sockets = [await client.ws_connect(f"{server.url}/invocations_ws") for _ in range(50)]
        await asyncio.wait_for(until_started(client, server, len(kinds) + len(sockets)), 20)
        begin = time.monotonic()
        server.terminate()
        messages = await asyncio.gather(*(socket.receive() for socket in sockets))
        assert Counter(message.data for message in messages) == {1001: 50}
        outcomes = Counter(await asyncio.gather(*requests))
        assert await server.exit_code() == 0
        assert time.monotonic() - begin < 25
    assert outcomes == {
        ("wind-down", 200, "wound down"): 75,
        ("stream-wind-down", 200, "first last"): 75,
        ("forever", 503, "unavailable"): 25,
        ("stream 600", 200, "cut after 'first '"): 25,
    }
    assert "Traceback" not in "".join(server.log)
