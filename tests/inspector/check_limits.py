"""What the inspector costs, and what it bears; ``make inspector-test``, on a machine at rest."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, browser
from tests.inspector.inspected import Inspected, inspected

FRAMES = 100_000
REQUEST = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
async def test_a_hundred_thousand_frames_on_one_connection_leave_everything_quick_and_small() -> None:
    async with inspected() as dev, browser() as chromium:
        page = await chromium.page(dev.address)
        await page.until("document.querySelector('#agent-state.running')")
        await page.click("WebSocket")
        before = resident(dev.process.pid)
        url = dev.agent.replace("http", "ws") + "/invocations_ws"
        slowest = 0.0
        async with dev.session.ws_connect(url) as websocket:
            await dev.exchange(kind="websocket", status=101)
            await page.run("document.querySelector('#panel-WebSocket [role=listbox]').focus()")
            await page.press("Home")
            for _ in range(FRAMES // 2 // 500):
                for number in range(500):
                    await websocket.send_str(f"frame {number}")
                for _ in range(500):
                    await websocket.receive()
                began = time.monotonic()
                await page.run("document.querySelectorAll('.listing-row').length")
                slowest = max(slowest, time.monotonic() - began)
            found = await dev.exchange(kind="websocket", parts=FRAMES + 2)
            await page.until(f"document.body.innerText.includes('{FRAMES + 2 - 20_000} older ones dropped')")
            latencies = [await latency(dev) for _ in range(50)]
            heap = await page.call("Runtime.getHeapUsage")
            rows = await page.run("document.querySelectorAll('.listing-row').length")
        parent, renderer = resident(dev.process.pid), await asyncio.to_thread(largest_renderer)
    print(
        f"\nparent {parent:.0f} MB, {before:.0f} before; page's heap {heap['usedSize'] / 1e6:.0f} MB,"
        f" its process {renderer:.0f} MB; slowest answer of the page {slowest * 1000:.0f} ms;"
        f" the interface's median {sorted(latencies)[25] * 1000:.1f} ms"
    )
    assert found["dropped"] == FRAMES + 2 - 20_000
    assert rows < 150
    assert parent < 64
    assert renderer < 300
    assert sorted(latencies)[25] < 0.1


async def latency(dev: Inspected) -> float:
    began = time.monotonic()
    await dev.get("/api/documents")
    return time.monotonic() - began


def resident(pid: int) -> float:
    """Megabytes of memory of a process, at most until now."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1000


def largest_renderer() -> float:
    """Megabytes of the largest of the browser's processes that show pages."""
    found = [0.0]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"--type=renderer" in (process / "cmdline").read_bytes():
                found.append(resident(int(process.name)))
        except (OSError, KeyError):
            continue
    return max(found)


async def test_the_tap_costs_a_post_little() -> None:
    """Beside an agent without the inspector, and one with it that makes no spans: they take turns."""
    async with (
        inspected("--no-inspector") as off,
        inspected(environment={"OTEL_SDK_DISABLED": "true"}) as copies,
        inspected() as on,
    ):
        times = {"off": Clock(off), "copies": Clock(copies), "copies and spans": Clock(on)}
        for clock in times.values():
            await asyncio.to_thread(clock.measure, 300)
            clock.seconds.clear()
        for _ in range(40):
            for clock in times.values():
                await asyncio.to_thread(clock.measure, 100)
        for clock in times.values():
            clock.connection.close()
    found = {name: clock.quarter() for name, clock in times.items()}
    print("\n", {name: f"{value * 1e6:.0f} µs, {value / found['off']:.2f}" for name, value in found.items()})
    assert found["copies"] < 1.4 * found["off"]
    assert found["copies and spans"] < 2.5 * found["off"]  # docs/decisions/inspector.md says why not less


class Clock:
    """Times POSTs on one connection to an agent."""

    def __init__(self, dev: Inspected) -> None:
        self.seconds: list[float] = []
        self.connection = socket.create_connection(("127.0.0.1", int(dev.agent.rpartition(":")[2])))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def measure(self, count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            self.connection.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"hello"):
                answer += self.connection.recv(65536)
            self.seconds.append(time.perf_counter() - began)

    def quarter(self) -> float:
        """What three quarters of the POSTs take longer than: what else the machine does is not in it."""
        return sorted(self.seconds)[len(self.seconds) // 4]
