"""An idle server is asleep: how often its threads wake up is counted, as the system counts it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.servers import ServerProcess, running
from tests.telemetry.receiver import http_receiver

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="the counts are those of /proc"),
]

SECONDS = 11.0
# Of one thread: three timers of two each, and what a busy machine adds. One timer of a second is eleven.
MOST = 10
SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)


def switches(server: ServerProcess) -> Counter[str]:
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return Counter({task.name: _switches_of(task) for task in tasks})


def _switches_of(task: Path) -> int:
    found = SWITCHES.search((task / "status").read_text())
    assert found is not None
    return int(found[1])


async def wake_ups(server: ServerProcess) -> Mapping[str, int]:
    """How often each thread woke up in eleven seconds, once the start has died down."""
    await asyncio.sleep(2)
    before = switches(server)
    await asyncio.sleep(SECONDS)
    return switches(server) - before


async def connected(server: ServerProcess) -> Mapping[str, int]:
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{server.url}/readiness") as response:  # a connection that stays idle
            await response.read()
        async with client.ws_connect(f"{server.url}/invocations_ws") as websocket:
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "hello"
            return await wake_ups(server)


async def test_no_timer_wakes_an_idle_server_more_than_once_in_five_seconds() -> None:
    async with http_receiver() as (_, endpoint):
        observed = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        agent = ("-m", "tests.agents")
        async with running(*agent) as plain, running(*agent, environment=observed) as exporting:
            async with running(*agent) as with_websocket, running(*agent, environment=observed) as with_both:
                counted = await asyncio.gather(
                    wake_ups(plain), wake_ups(exporting), connected(with_websocket), connected(with_both)
                )
    assert max(max(threads.values(), default=0) for threads in counted) <= MOST, counted
