"""The writer of a connection alone: who may put a frame when the reader is slow."""

from __future__ import annotations

import asyncio

import pytest

from agentserver.actions._writer import ConnectionEndedError, FrameWriter

FULL = b"x" * 16 * 1024


class Reader:
    """Takes a frame whenever the test says so."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.may_take = asyncio.Semaphore(0)

    async def send(self, frame: bytes) -> None:
        await self.may_take.acquire()
        self.taken.append(frame)

    async def until(self, count: int) -> list[bytes]:
        while len(self.taken) < count:
            await asyncio.sleep(0)
        return self.taken[1:]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_who_wait_go_on_in_the_order_of_their_coming() -> None:
    reader = Reader()
    writer = FrameWriter(reader.send)
    writing = asyncio.create_task(writer.run())
    await writer.put(FULL)
    waiting = [asyncio.create_task(writer.put(name)) for name in (b"a", b"b", b"c")]
    await settle()
    assert not any(task.done() for task in waiting)
    for _ in range(4):
        reader.may_take.release()
    assert await reader.until(4) == [b"a", b"b", b"c"]
    writer.close()
    await writing


async def test_one_who_is_cancelled_just_when_its_turn_has_come_lets_the_next_on() -> None:
    reader = Reader()
    writer = FrameWriter(reader.send)
    writing = asyncio.create_task(writer.run())
    await writer.put(FULL)
    first, second = (asyncio.create_task(writer.put(name)) for name in (b"a", b"b"))
    await settle()
    writer._let_on()
    first.cancel()
    await second
    assert first.cancelled()
    for _ in range(2):
        reader.may_take.release()
    assert await reader.until(2) == [b"b"]
    writer.close()
    await writing


async def test_when_the_connection_ends_everyone_is_told() -> None:
    async def gone(_frame: bytes) -> None:
        raise ConnectionResetError

    writer = FrameWriter(gone)
    await writer.put(FULL)
    waiting = [asyncio.create_task(writer.put(b"a")) for _ in range(3)]
    await settle()
    await writer.run()
    for task in waiting:
        with pytest.raises(ConnectionEndedError):
            await task
    with pytest.raises(ConnectionEndedError):
        await writer.put(b"late")
