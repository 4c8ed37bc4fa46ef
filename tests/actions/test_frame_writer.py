"""The writer of a connection alone: what goes out in a round, and who is let on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agentserver.actions._frame_writer import ConnectionEndedError, FrameWriter


class Reader:
    """Takes what is written; while it is slow, the test says when it has read."""

    def __init__(self, *, slow: bool = False, gone: bool = False) -> None:
        self.slow = slow
        self.gone = gone
        self.written: list[list[bytes]] = []
        self.has_read = asyncio.Semaphore(0)

    @property
    def frames(self) -> list[bytes]:
        return [text[:1] for texts in self.written for text in texts]

    def write_texts(self, texts: Sequence[bytes]) -> bool:
        if self.gone:
            raise ConnectionResetError
        self.written.append(list(texts))
        return not self.slow

    async def drain(self) -> None:
        await self.has_read.acquire()
        if self.gone:
            raise ConnectionResetError


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def stream(writer: FrameWriter, name: bytes, count: int, size: int = 1) -> None:
    for _ in range(count):
        await writer.put(name * size)


async def test_the_frames_of_a_round_go_out_together() -> None:
    reader = Reader()
    writer = FrameWriter(reader)
    await asyncio.gather(*(stream(writer, name, 2) for name in (b"a", b"b")))
    await settle()
    assert reader.written == [[b"a", b"a", b"b", b"b"]]
    await stream(writer, b"c", 1)
    await settle()
    assert reader.written[1:] == [[b"c"]]


async def test_while_the_reader_is_slow_each_gets_on_by_a_frame_in_its_turn() -> None:
    reader = Reader(slow=True)
    writer = FrameWriter(reader)
    streams = [asyncio.create_task(stream(writer, name, 3, 20_000)) for name in (b"a", b"b", b"c")]
    for count in range(1, 10):
        await settle()
        assert len(reader.frames) == count
        reader.has_read.release()
    await asyncio.gather(*streams)
    # The first has put two before the others came.
    assert reader.frames == [b"a", *[b"a", b"b", b"c"] * 2, b"b", b"c"]


async def test_one_who_never_waits_lets_the_others_on() -> None:
    reader = Reader()
    writer = FrameWriter(reader)
    await asyncio.gather(*(stream(writer, name, 100, 1000) for name in (b"a", b"b")))
    assert 30 < reader.frames[:100].count(b"a") < 70


async def test_nobody_waits_for_ever_behind_one_who_comes_again_and_again() -> None:
    reader = Reader()
    writer = FrameWriter(reader)

    async def pushing() -> None:
        while True:
            await writer.put(b"p" * 20_000)
            await asyncio.sleep(0)

    pusher = asyncio.create_task(pushing())
    await settle()
    await asyncio.wait_for(stream(writer, b"a", 20, 20_000), 10)
    pusher.cancel()


@pytest.mark.parametrize("slow", [False, True])
async def test_one_who_is_cancelled_in_line_or_when_its_turn_has_come_lets_the_next_on(slow: bool) -> None:
    for pauses in range(6):
        reader = Reader(slow=slow)
        writer = FrameWriter(reader)
        await writer.put(b"x" * 20_000)
        first = asyncio.create_task(writer.put(b"a"))
        second = asyncio.create_task(writer.put(b"b"))
        await asyncio.sleep(0)
        reader.has_read.release()
        for _ in range(pauses):
            await asyncio.sleep(0)
        first.cancel()
        reader.has_read.release()
        await asyncio.wait_for(second, 10)
        await settle()
        assert reader.frames in ([b"x", b"b"], [b"x", b"a", b"b"])


@pytest.mark.parametrize("slow", [False, True])
async def test_when_the_connection_has_ended_everyone_is_told(slow: bool) -> None:
    reader = Reader(slow=slow, gone=not slow)
    writer = FrameWriter(reader)
    await writer.put(b"x" * 20_000)
    waiting = [asyncio.create_task(writer.put(b"a")) for _ in range(3)]
    await settle()
    reader.gone = True
    reader.has_read.release()
    for task in waiting:
        with pytest.raises(ConnectionEndedError):
            await asyncio.wait_for(task, 10)
    with pytest.raises(ConnectionEndedError):
        await writer.put(b"late")


async def test_a_closed_writer_sends_nothing_more_and_lets_nobody_wait() -> None:
    reader = Reader(slow=True)
    writer = FrameWriter(reader)
    await writer.put(b"x" * 20_000)
    waiting = asyncio.create_task(writer.put(b"a"))
    await settle()
    assert not waiting.done()
    writer.close()
    with pytest.raises(ConnectionEndedError):
        await asyncio.wait_for(waiting, 10)
    reader.has_read.release()
    await settle()
    assert reader.frames == [b"x"]
