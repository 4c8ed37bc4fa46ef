"""What goes over the wire of ``invocations_ws``, byte by byte."""

from __future__ import annotations

import asyncio
import os
import struct

import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationsServerOptions
from tests.websocket.talking import event
from tests.websocket.wire import (
    MASK,
    MIB,
    close,
    frame,
    hosting,
    on_both_loops,
    zeros,
)

# --- protocol errors

UNMASKED = "a client's frames must be masked"
RESERVED = "a reserved bit is set"
CONTROL = "a control frame must be whole and without reserved bits"
TOO_LONG = "a control frame has at most 125 bytes"
UNFINISHED = "a message must be finished before the next"
BAD_CLOSE = "a close frame must have a valid code"
BAD_TEXT = "not valid UTF-8"

BROKEN = {
    "unmasked": (frame(0x81, b"x", masked=False), 1002, UNMASKED),
    "reserved bits": (frame(0xF1, b"x"), 1002, RESERVED),
    "compressed although that was not negotiated": (frame(0xC1, b"x"), 1002, RESERVED),
    "unknown data opcode": (frame(0x83, b"x"), 1002, "unknown opcode 3"),
    "unknown control opcode": (frame(0x8B, b"x"), 1002, "unknown opcode 11"),
    "continuation of nothing": (frame(0x80, b"x"), 1002, "nothing to continue"),
    "message within a message": (frame(0x01, b"x") + frame(0x81, b"y"), 1002, UNFINISHED),
    "message within an empty beginning": (frame(0x01) + frame(0x81, b"y"), 1002, UNFINISHED),
    "fragmented ping": (frame(0x09, b"x"), 1002, CONTROL),
    "ping with a reserved bit": (frame(0xC9, b"x"), 1002, CONTROL),
    "long ping": (frame(0x89, b"x" * 126), 1002, TOO_LONG),
    "close of one byte": (frame(0x88, b"\x03"), 1002, BAD_CLOSE),
    "close with 1005": (frame(0x88, struct.pack("!H", 1005)), 1002, BAD_CLOSE),
    "close with 1006": (frame(0x88, struct.pack("!H", 1006)), 1002, BAD_CLOSE),
    "close with 1015": (frame(0x88, struct.pack("!H", 1015)), 1002, BAD_CLOSE),
    "close with 2999": (frame(0x88, struct.pack("!H", 2999)), 1002, BAD_CLOSE),
    "close with 5000": (frame(0x88, struct.pack("!H", 5000)), 1002, BAD_CLOSE),
    "close with a broken reason": (frame(0x88, b"\x03\xe8\xff\xff"), 1007, BAD_TEXT),
    "broken text": (frame(0x81, b"\xff\xfe\xfd"), 1007, BAD_TEXT),
    "text cut within a character": (frame(0x81, "é".encode()[:1]), 1007, BAD_TEXT),
    "broken text at the end of the message": (frame(0x01, b"ok") + frame(0x80, b"\xc3"), 1007, BAD_TEXT),
    "broken text before the end of the message": (frame(0x01, b"\xff"), 1007, BAD_TEXT),
    "too big": (
        b"\x82\xff" + struct.pack("!Q", 16 * MIB + 1) + MASK,
        1009,
        f"a message may have at most {16 * MIB} bytes",
    ),
    "absurdly big": (b"\x82\xff" + b"\xff" * 8 + MASK, 1009, f"a message may have at most {16 * MIB} bytes"),
}


@on_both_loops
@pytest.mark.parametrize(("sent", "code", "reason"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_frame_is_answered_with_its_code_and_then_the_end_of_the_stream(
    sent: bytes, code: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting() as dial:
        client = await dial()
        client.send(sent)
        assert await client.rest() == close(code, reason)
        client.writer.close()
        closed = await event(caplog)
    assert (closed["close_code"], "error.code" in closed) == (code, False)


@on_both_loops
async def test_a_client_that_goes_on_sending_after_its_error_still_sees_the_code() -> None:
    async with hosting(options=InvocationsServerOptions(websocket_max_message_size=1000)) as dial:
        client = await dial()
        client.send(zeros(0x82, 5 * MIB))
        assert await client.rest() == close(1009, "a message may have at most 1000 bytes")


@on_both_loops
async def test_messages_before_a_broken_frame_are_replied_to_first() -> None:
    async with hosting() as dial:
        client = await dial()
        client.send(frame(0x81, b"a"), frame(0x81, b"b"), frame(0x8B))
        assert await client.rest() == b"\x81\x01a\x81\x01b" + close(1002, "unknown opcode 11")


@on_both_loops
async def test_fragments_over_the_limit_in_sum_are_too_big() -> None:
    async with hosting(options=InvocationsServerOptions(websocket_max_message_size=10)) as dial:
        client = await dial()
        client.send(frame(0x02, b"12345"), frame(0x00, b"67890"), frame(0x80, b"1"))
        assert await client.rest() == close(1009, "a message may have at most 10 bytes")


# --- messages


@on_both_loops
async def test_frames_sent_behind_the_request_for_the_upgrade_are_read() -> None:
    async with hosting() as dial:
        client = await dial(frame(0x81, b"early") + frame(0x88, struct.pack("!H", 4000)))
        assert await client.rest() == b"\x81\x05early" + close(4000)


@on_both_loops
async def test_a_large_frame_behind_the_request_for_the_upgrade_is_read() -> None:
    async with hosting() as dial:
        client = await dial(zeros(0x82, 2 * MIB)[: MIB // 2])
        client.send(zeros(0x82, 2 * MIB)[MIB // 2 :], frame(0x88))
        assert await client.rest() == b"\x82\x7f" + struct.pack("!Q", 2 * MIB) + bytes(2 * MIB) + b"\x88\x00"


@on_both_loops
async def test_frames_that_come_byte_by_byte_are_read() -> None:
    async with hosting() as dial:
        client = await dial()
        for byte in frame(0x01, b"a") + frame(0x89, b"p") + frame(0x80, b"b" * 126) + frame(0x88):
            client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert await client.rest() == b"\x8a\x01p" + b"\x81\x7e\x00\x7fa" + b"b" * 126 + b"\x88\x00"


@on_both_loops
@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 300_000, 2 * MIB + 1])
async def test_a_message_of_any_size_comes_back_whole(size: int) -> None:
    payload = os.urandom(1000) * (size // 1000 + 1)
    payload = payload[:size]
    async with hosting() as dial:
        client = await dial()
        client.send(frame(0x82, payload), frame(0x88))
        answer = await client.rest()
    assert answer.endswith(payload + b"\x88\x00")
    assert len(answer) - size - 2 in {2, 4, 10}


@on_both_loops
async def test_a_ping_is_answered_while_the_handler_does_not_read() -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await asyncio.Event().wait()

    async with hosting(talk) as dial:
        client = await dial()
        client.send(frame(0x81, b"unread"), frame(0x89, b"are you there?"))
        assert await client.read(16) == b"\x8a\x0eare you there?"
        client.reset()


# --- the end


@on_both_loops
async def test_a_close_without_a_code_is_answered_with_one_and_reported_as_1005(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hosting() as dial:
        client = await dial()
        client.send(frame(0x88))
        assert await client.rest() == b"\x88\x00"
        assert (await event(caplog))["close_code"] == 1005


@on_both_loops
async def test_a_client_that_ends_its_stream_without_a_close_gets_none_and_is_reported_as_1006(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hosting() as dial:
        client = await dial()
        client.writer.write_eof()
        assert await client.rest() == b""
        assert (await event(caplog))["close_code"] == 1006


@on_both_loops
async def test_a_client_that_never_answers_a_close_is_cut_off_and_reported_as_1006(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        assert await websocket.close(code=4000)

    async with hosting(talk, InvocationsServerOptions(websocket_close_timeout=0.1)) as dial:
        client = await dial()
        assert await client.rest() == close(4000)
        closed = await event(caplog)
    assert (closed["close_code"], "error.code" in closed) == (1006, False)
    assert closed["duration_ms"] > 95  # uvloop counts whole milliseconds


@on_both_loops
async def test_a_handler_that_holds_on_after_its_cancellation_reports_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            async for _ in websocket:
                pass

    async with hosting(talk) as dial:
        client = await dial()
        client.reset()
        closed = await event(caplog)
    assert closed["close_code"] == 1006


@on_both_loops
@pytest.mark.parametrize("fails", [False, True])
async def test_a_client_that_ends_its_stream_without_an_answer_to_our_close_is_reported_as_1006(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        if fails:
            raise RuntimeError("on purpose")

    async with hosting(talk) as dial:
        client = await dial()
        said = close(1011, "Internal server error") if fails else close(1000)
        assert await client.read(len(said)) == said
        client.writer.write_eof()
        assert await client.rest() == b""
        assert (await event(caplog))["close_code"] == 1006


@on_both_loops
async def test_a_client_that_answers_our_close_with_a_broken_frame_is_reported_as_1006(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        return

    async with hosting(talk) as dial:
        client = await dial()
        assert await client.read(4) == close(1000)
        client.send(frame(0x8B))
        assert await client.rest() == b""
        client.writer.close()
        assert (await event(caplog))["close_code"] == 1006


@on_both_loops
async def test_another_code_in_the_answer_to_our_close_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.close(code=4000)

    async with hosting(talk) as dial:
        client = await dial()
        assert await client.read(4) == close(4000)
        client.send(frame(0x88, struct.pack("!H", 4001)))
        assert await client.rest() == b""
        assert (await event(caplog))["close_code"] == 4000
