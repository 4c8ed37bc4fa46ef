"""The writer of a connection alone: who may send when the reader is slow, and when it is not."""

from __future__ import annotations

import asyncio

import pytest

from agentserver.actions._writer import ConnectionEndedError, FrameWriter


class Reader:
    """Takes a frame whenever the test says so."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.may_go_on = asyncio.Semaphore(0)

    async def send(self, frame: bytes) -> None:
        self.taken.append(frame)
        await self.may_go_on.acquire()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_while_the_reader_is_slow_each_gets_on_by_a_frame_in_its_turn() -> None:
    reader = Reader()
    writer = FrameWriter(reader.send)

    async def stream(name: bytes) -> None:
        for _ in range(3):
            await writer.put(name)

    streams = [asyncio.create_task(stream(name)) for name in (b"a", b"b", b"c")]
    for count in range(1, 10):
        await settle()
        assert len(reader.taken) == count
        reader.may_go_on.release()
    await asyncio.gather(*streams)
    assert reader.taken == [b"a", b"b", b"c"] * 3


@pytest.mark.parametrize("which", [0, 1])
async def test_one_who_is_cancelled_while_it_waits_leaves_the_line_to_the_others(which: int) -> None:
    reader = Reader()
    writer = FrameWriter(reader.send)
    waiting = [asyncio.create_task(writer.put(name)) for name in (b"a", b"b", b"c")]
    await settle()
    waiting[which].cancel()
    for _ in range(2):
        reader.may_go_on.release()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting].index(True) == which
    assert reader.taken == ([b"a", b"b", b"c"] if which == 0 else [b"a", b"c"])


async def test_one_who_never_waits_lets_the_others_on() -> None:
    sent: list[bytes] = []

    async def send(frame: bytes) -> None:
        sent.append(frame[:1])

    async def stream(name: bytes) -> None:
        for _ in range(100):
            await writer.put(name * 1000)

    writer = FrameWriter(send)
    await asyncio.gather(*(stream(name) for name in (b"a", b"b")))
    assert abs(sent[:100].count(b"a") - 50) < 20


async def test_when_the_connection_has_ended_everyone_is_told() -> None:
    async def gone(_frame: bytes) -> None:
        await asyncio.sleep(0)
        raise ConnectionResetError

    writer = FrameWriter(gone)
    for task in [asyncio.create_task(writer.put(b"a")) for _ in range(3)]:
        with pytest.raises(ConnectionEndedError):
            await task
