"""Slow clients, slow handlers, and what is left when a connection is over."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import tracemalloc

import pytest
from aiohttp import web

from agentserver import InvocationContext
from agentserver._websocket.connection import WebSocketConnection
from agentserver._websocket.frames import BINARY, PING
from tests.servers import DEADLINE
from tests.websocket.wire import (
    MIB,
    frame,
    hosting,
    on_both_loops,
    write_all,
    zeros,
)

# --- backpressure


@on_both_loops
async def test_a_client_that_does_not_read_stops_the_handlers_sends() -> None:
    sent = 0
    ended = asyncio.Event()

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        nonlocal sent
        for _ in range(400):
            await websocket.send_bytes(bytes(MIB // 4))
            sent += 1
        ended.set()

    async with hosting(talk) as dial:
        client = await dial()
        client.transport.pause_reading()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 100
        client.transport.resume_reading()
        await client.read(400 * (MIB // 4 + 10))
        await asyncio.wait_for(ended.wait(), DEADLINE)


@on_both_loops
@pytest.mark.parametrize("size", [1000, MIB])
async def test_a_handler_that_does_not_read_stops_the_client_and_loses_nothing(size: int) -> None:
    total = max(100, 40 * MIB // (size + 100))
    begin = asyncio.Event()
    got: list[int] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await begin.wait()
        got.extend([len(message.data) async for message in websocket])

    async with hosting(talk) as dial:
        client = await dial()
        one = zeros(0x82, size) if size > 0xFFFF else frame(0x82, bytes(size))
        writer = asyncio.create_task(write_all(client, one, total))
        while not writer.done() and client.transport.get_write_buffer_size() == 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert not writer.done()
        begin.set()
        await asyncio.wait_for(writer, DEADLINE)
        client.send(frame(0x88))
        assert await client.rest() == b"\x88\x00"
    assert got == [size] * total


@on_both_loops
async def test_a_flood_of_pings_from_a_client_that_does_not_read_fills_no_memory() -> None:
    async with hosting() as dial:
        client = await dial()
        client.transport.pause_reading()
        tracemalloc.start()
        try:
            await write_all(client, frame(0x89, b"x" * 125), 40_000)
            await asyncio.sleep(0.1)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert grown < 4 * MIB
        client.reset()


# --- nothing is left


@on_both_loops
async def test_connects_and_aborts_leave_no_task_no_socket_and_no_memory_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """300 by default; the figures for 10,000 in docs/conformance.md come from ``WS_LEAK_ROUNDS=10000``."""
    rounds = int(os.environ.get("WS_LEAK_ROUNDS", "300"))

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for message in websocket:
            await websocket.send_str(message.data)

    async def one(number: int) -> None:
        client = await dial()
        client.send(frame(0x81, b"hello"))
        if number % 2:
            await client.read(7)
        client.reset()

    async with hosting(talk) as dial:
        caplog.set_level(logging.WARNING, "agentserver")  # pytest keeps every record
        for number in range(100):
            await one(number)
        await settled()
        first = counts()
        for number in range(rounds):
            await one(number)
        await settled()
        last = counts()
    print(f"\n{rounds} connects and aborts: {first} -> {last}")
    assert last["tasks"] <= first["tasks"]
    assert last["sockets"] <= first["sockets"]
    assert last["connections"] <= first["connections"]  # earlier tests of the run may have left some
    assert last["objects"] - first["objects"] < rounds // 2


async def settled() -> None:
    """Wait until the test's own task is the only one."""
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0.01)


class ClosingTransport(asyncio.Transport):
    """What a transport is between a write that failed and the loop's turn that says so."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("nothing may be written")


async def test_whoever_sends_in_a_loop_learns_at_once_that_the_client_has_reset() -> None:
    connection = WebSocketConnection(ClosingTransport(), max_size=MIB, close_timeout=1.0)
    connection.accepted()
    with pytest.raises(ConnectionResetError):
        await connection.send(BINARY, b"x")
    with pytest.raises(ConnectionResetError):
        connection.write_texts([b"one", b"two"])
    connection.on_control(PING, b"a ping that came before is not answered")


def counts() -> dict[str, int]:
    gc.collect()
    objects = gc.get_objects()
    return {
        "tasks": len(asyncio.all_tasks()),
        "sockets": sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket") for fd in _open_files()),
        "connections": sum(
            type(thing).__name__ in {"WebSocketConnection", "WebSocket", "HostConnection"}
            for thing in objects
        ),
        "objects": len(objects),
    }


def _open_files() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")]
