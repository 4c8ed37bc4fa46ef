"""Streams and uploads of 1 GiB: memory stays flat."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from hardening.agent import CHUNK, GIB
from hardening.process import agent, note, reset_peak, status
from tests.servers import ServerProcess

MOST = 24 * 1024
"""KiB that memory may grow by, whatever the size of a body."""
TIMEOUT = aiohttp.ClientTimeout(total=300)


async def grown(server: ServerProcess, before: int) -> int:
    return status(server, "VmHWM") - before


async def warm_up(client: aiohttp.ClientSession, server: ServerProcess) -> int:
    for _ in range(20):
        async with client.post("/invocations", data=b"x") as response:
            assert await response.read() == b"x"
    reset_peak(server)
    return status(server, "VmRSS")


async def test_a_stream_of_1_gib_to_a_slow_reader_keeps_memory_flat() -> None:
    async with agent() as server, aiohttp.ClientSession(server.url, timeout=TIMEOUT) as client:
        before = await warm_up(client, server)
        async with client.post("/invocations", params={"stream": str(GIB)}) as response:
            total, pauses = 0, 0
            async for chunk in response.content.iter_chunked(1 << 20):
                total += len(chunk)
                if total >> 24 > pauses:  # pause every 16 MiB
                    pauses += 1
                    await asyncio.sleep(0.1)
        assert total == GIB
        growth = await grown(server, before)
    note("1 GiB stream to a slow reader", f"memory {before} KiB, peak +{growth} KiB")
    assert growth < MOST


async def upload(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(CHUNK)):
        yield CHUNK


async def test_an_upload_of_1_gib_that_the_handler_reads_slowly_keeps_memory_flat() -> None:
    async with agent() as server, aiohttp.ClientSession(server.url, timeout=TIMEOUT) as client:
        for how, data in (("announced", upload(GIB)), ("chunked", upload(GIB))):
            before = await warm_up(client, server)
            headers = {"Content-Length": str(GIB)} if how == "announced" else {}
            async with client.post(
                "/invocations", params={"count": "0.01"}, data=data, headers=headers
            ) as response:
                assert await response.text() == str(GIB)
            growth = await grown(server, before)
            note(f"1 GiB upload, {how}, read slowly", f"memory {before} KiB, peak +{growth} KiB")
            assert growth < MOST


async def test_a_body_over_the_limit_is_refused_without_being_kept() -> None:
    async with agent() as server, aiohttp.ClientSession(server.url, timeout=TIMEOUT) as client:
        before = await warm_up(client, server)
        headers = {"Content-Length": str(3 * GIB)}
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        head = (
            "POST /invocations HTTP/1.1\r\nHost: x\r\n"
            + f"Content-Length: {headers['Content-Length']}\r\n\r\n"
        )
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")
        writer.close()
        assert await grown(server, before) < 4096
