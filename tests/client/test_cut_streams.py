"""What came before a stream was cut is given out, whenever it is asked for; the error comes after it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterable
from typing import TypeVar

import pytest

from agentserver.client import (
    ClientError,
    DeadlineError,
    InvocationsClient,
    LostConnectionError,
    Stream,
    StreamEvent,
)
from agentserver.testing import until
from tests.client.peers import Peer, raw_peer, read_head
from tests.http.loops import on_both_loops, run_on

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Type: text/event-stream\r\n\r\n")
PACKED = gzip.compress(b"one two three", mtime=0)

T = TypeVar("T")


def saying(*pieces: bytes) -> Peer:
    """Answers with *pieces*, each in a packet of its own, and is gone."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def cut(stream: Stream) -> None:
    """Wait until the cut has reached the client, which has read nothing yet."""
    await until(lambda: stream._response.content.exception() is not None, what="the end of the connection")


async def given(items: AsyncIterable[T], error: type[ClientError] = LostConnectionError) -> list[T]:
    """What is given out before *error*."""
    before: list[T] = []

    async def read() -> None:
        async for item in items:
            before.append(item)  # noqa: PERF401 - it is kept although the reading ends in an error

    with pytest.raises(error):
        await read()
    return before


@on_both_loops
@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([CHUNKED, chunk(b"one "), chunk(b"two")], b"one two"),
        ([CHUNKED + chunk(b"one ") + b"8\r\ntw"], b"one tw"),
        ([CHUNKED, chunk(b"a" * 100_000)], b"a" * 100_000),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b"one ", b"two"], b"one two"),
        (
            [CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), chunk(PACKED)],
            b"one two three",
        ),
        ([CHUNKED], b""),
    ],
    ids=["chunks", "half a chunk", "a large chunk", "a length", "packed", "nothing"],
)
def test_what_came_before_a_cut_is_read_after_it(
    pieces: list[bytes], expected: bytes, loop_name: str
) -> None:
    async def main() -> None:
        async with raw_peer(saying(*pieces)) as url, InvocationsClient(url) as client:
            async with client.stream() as stream:
                await cut(stream)
                assert b"".join(await given(stream)) == expected
                assert await given(stream) == []  # and the error again, however often it is asked for

    run_on(loop_name, main())


@on_both_loops
@pytest.mark.parametrize("late", [0, 1, 2, 3])
def test_a_reader_that_comes_at_any_time_gets_all_and_then_the_error(late: int, loop_name: str) -> None:
    async def main() -> None:
        pieces = [CHUNKED, b"4\r\none ", b"\r\n", chunk(b"two"), b"5\r\nthree", b"\r\n"]
        for apart in (pieces, [b"".join(pieces[:2]), b"".join(pieces[2:])]):
            async with raw_peer(saying(*apart)) as url, InvocationsClient(url) as client:
                async with client.stream() as stream:
                    await asyncio.sleep(late * 0.03)
                    assert b"".join(await given(stream)) == b"one twothree"

    run_on(loop_name, main())


async def test_events_and_text_that_came_before_a_cut_are_given_out() -> None:
    body = b"".join((EVENTS, chunk(b"data: 1\n\n"), chunk(b"data: 2\n\ndata: ha")))
    async with raw_peer(saying(body)) as url, InvocationsClient(url) as client:
        async with client.stream() as stream:
            await cut(stream)
            assert await given(stream.events()) == [StreamEvent("1"), StreamEvent("2")]
        async with client.stream() as stream:
            await cut(stream)
            assert "".join(await given(stream.text())) == "data: 1\n\ndata: 2\n\ndata: ha"


async def test_a_cut_answer_is_not_taken_for_the_whole_one() -> None:
    async with raw_peer(saying(CHUNKED, chunk(b"one "))) as url, InvocationsClient(url) as client:
        async with client.stream() as stream:
            await cut(stream)
            with pytest.raises(LostConnectionError):
                await stream.answer()


async def test_what_came_before_the_idle_time_out_is_given_out_and_the_error_says_why() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(CHUNKED + chunk(b"one "))
        await writer.drain()
        await asyncio.Event().wait()

    async with raw_peer(silent) as url, InvocationsClient(url) as client:
        async with client.stream(idle_timeout=0.05) as stream:
            assert await given(stream, DeadlineError) == [b"one "]
