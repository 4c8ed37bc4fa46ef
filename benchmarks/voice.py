"""Many voice connections on one core: how late is the sound that comes back, and does memory stay flat?

Each caller sends 20 ms of 16 kHz sound every 20 ms and gets it back. The agent has one core, the callers
another. A frame is late by the time between its sending and its return; those of the first seconds, in which
all connections are made, are counted by themselves. ``--pipecat`` sends it through a
pipeline of Pipecat, transport to transport, instead of a raw handler.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import statistics
import struct
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from agentserver import InvocationContext, InvocationsServer, InvocationWebSocketHandler
from agentserver.testing import run_server

PIECE = 640  # bytes of 20 ms
PERIOD = 0.02
SETTLED = 5.0  # seconds, after which memory is measured first


class Echo(InvocationWebSocketHandler):
    """Sends back what it gets."""

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Serve one connection."""
        async for message in websocket:
            if message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data)


def pipecat_echo() -> Any:
    """The same as a pipeline of Pipecat."""
    return importlib.import_module("benchmarks.voice_pipecat").PipecatEcho


async def call(url: str, seconds: float, beginning: list[float], delays: list[float]) -> None:
    """Talk for *seconds*, and add how long each frame took to *beginning* and, later, to *delays*."""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{url}/invocations_ws", compress=0) as websocket,
    ):

        async def listen() -> None:
            async for message in websocket:
                if message.type is WSMsgType.BINARY:
                    now = time.perf_counter()
                    starts = range(0, len(message.data), PIECE)
                    late = [now - struct.unpack_from("<d", message.data, at)[0] for at in starts]
                    (beginning if now < settled else delays).extend(late)

        due = start = time.perf_counter()
        settled = start + min(SETTLED, seconds / 2)
        listening = asyncio.create_task(listen())
        while due < start + seconds:
            await websocket.send_bytes(struct.pack("<d", time.perf_counter()).ljust(PIECE, b"\1"))
            due += PERIOD
            await asyncio.sleep(due - time.perf_counter())
        await asyncio.sleep(0.5)
        await websocket.close()
        await listening


def resident(pid: int) -> float:
    """MB of memory that the process has."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure(connections: int, seconds: float, kind: str) -> None:
    """Run it, and print what came out."""
    beginning: list[float] = []
    delays: list[float] = []
    async with run_server("-m", "benchmarks.voice", "--serve", kind, wait=False) as server:
        await server.listens()
        pid = server.process.pid
        os.sched_setaffinity(pid, {0})
        calls: list[asyncio.Task[None]] = []
        for _ in range(connections):  # spread over a period, as callers are
            calls.append(asyncio.create_task(call(server.url, seconds, beginning, delays)))
            await asyncio.sleep(PERIOD / connections)
        await asyncio.sleep(min(SETTLED, seconds / 2))
        before = resident(pid)
        await asyncio.sleep(max(0.0, seconds - 2 * SETTLED))
        after = resident(pid)
        await asyncio.gather(*calls)
    sent, back = connections * round(seconds / PERIOD), len(beginning) + len(delays)
    print(f"{kind}: {connections} connections, {back} of {sent} frames back")
    first = f"{min(SETTLED, seconds / 2):g} s"
    print(f"in the first {first}, as they connect: late by {parts(beginning)}; after that: {parts(delays)}")
    print(f"memory: {before:.1f} MB after {first}, {after:.1f} MB at the end")


def parts(delays: list[float]) -> str:
    """How late most of *delays* are, and the last of them."""
    cuts = statistics.quantiles(delays, n=1000)
    return ", ".join(f"p{part / 10:g} {cuts[part - 1] * 1e3:.1f} ms" for part in (500, 990, 999))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pipecat", action="store_true")
    parser.add_argument("--serve", choices=("raw", "pipecat"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.serve:
        InvocationsServer.run(Echo if given.serve == "raw" else pipecat_echo())
        return
    asyncio.run(measure(given.connections, given.seconds, "pipecat" if given.pipecat else "raw"))


if __name__ == "__main__":
    main()
