"""A handler that asks for what a WebSocket cannot do is told so in a sentence, and nothing has gone out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from agentserver import InvocationContext
from tests.websocket.talking import code_of, dialled, talking
from tests.websocket.wire import close, frame, hosting, on_both_loops

Misuse = Callable[[Any], Awaitable[object]]

MISUSES: dict[str, tuple[Misuse, type[Exception], str]] = {
    "a ping too long": (
        lambda ws: ws.ping(b"x" * 126),
        ValueError,
        "a ping carries at most 125 bytes, not 126",
    ),
    "a pong too long": (
        lambda ws: ws.pong(b"x" * 126),
        ValueError,
        "a pong carries at most 125 bytes, not 126",
    ),
    "a ping of another type": (lambda ws: ws.ping(1), TypeError, "a ping carries bytes or str, not int"),
    "text that is bytes": (lambda ws: ws.send_str(b"x"), TypeError, "send_str() sends str, not bytes"),
    "bytes that are text": (
        lambda ws: ws.send_bytes("x"),
        TypeError,
        "send_bytes() sends bytes, bytearray or memoryview, not str",
    ),
    "text with half a character": (
        lambda ws: ws.send_str("\ud800"),
        ValueError,
        "text with lone surrogates cannot be sent: it is no UTF-8",
    ),
    "a close frame": (
        lambda ws: ws.send_frame(b"\x03\xe8", WSMsgType.CLOSE),
        ValueError,
        "send_frame() sends TEXT, BINARY, PING or PONG: use close() to close",
    ),
    "no frame at all": (
        lambda ws: ws.send_frame(b"", WSMsgType.CLOSED),
        ValueError,
        "send_frame() sends TEXT, BINARY, PING or PONG: use close() to close",
    ),
    "a frame of a ping too long": (
        lambda ws: ws.send_frame(b"x" * 126, WSMsgType.PING),
        ValueError,
        "a ping carries at most 125 bytes, not 126",
    ),
    "a code that is no number": (
        lambda ws: ws.close(code="1000"),
        TypeError,
        "a close code is an int, not str",
    ),
    "a reason that is no text": (
        lambda ws: ws.close(message=1),
        TypeError,
        "the reason of a close is str or bytes, not int",
    ),
    "a reason that is no UTF-8": (
        lambda ws: ws.close(message=b"\xff"),
        ValueError,
        "the reason of a close must be UTF-8",
    ),
    "a reason with half a character": (
        lambda ws: ws.close(message="\ud800"),
        ValueError,
        "the reason of a close must be UTF-8",
    ),
    "a reason too long": (
        lambda ws: ws.close(message="é" * 62),
        ValueError,
        "the reason of a close has 124 bytes, but at most 123 fit",
    ),
    "a code that may not be sent": (
        lambda ws: ws.close(code=1006),
        ValueError,
        "1006 is no close code to send: use 1000 or one from 3000 to 4999",
    ),
}


@pytest.mark.parametrize(("misuse", "kind", "sentence"), MISUSES.values(), ids=MISUSES)
async def test_a_misuse_is_refused_with_a_sentence_and_the_connection_goes_on(
    misuse: Misuse, kind: type[Exception], sentence: str
) -> None:
    refused: list[Exception] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        try:
            await misuse(websocket)
        except (TypeError, ValueError) as error:
            refused.append(error)
        await websocket.send_str("still here")

    async with talking(talk) as url, dialled(url) as client:
        assert await client.recv() == "still here"
        assert await code_of(client) == (1000, "")
    assert [(type(error), str(error)) for error in refused] == [(kind, sentence)]


@pytest.mark.parametrize("reason", ["au revoir à tous", "au revoir à tous".encode()])
async def test_the_reason_of_a_close_may_be_text_or_bytes(reason: Any) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.close(code=4000, message=reason)

    async with talking(talk) as url, dialled(url) as client:
        assert await code_of(client) == (4000, "au revoir à tous")


@on_both_loops
async def test_pings_and_pongs_of_125_bytes_and_of_text_go_out() -> None:
    async def talk(websocket: Any, context: InvocationContext) -> None:
        await websocket.ping(b"x" * 125)
        await websocket.pong("é")

    async with hosting(talk) as dial:
        client = await dial()
        client.send(frame(0x88, b"\x03\xe8"))
        assert await client.rest() == b"\x89\x7d" + b"x" * 125 + b"\x8a\x02" + "é".encode() + close(1000)


@on_both_loops
@pytest.mark.parametrize("size", [10, 1000, 300_000])
async def test_bytes_that_the_handler_changes_after_it_has_sent_them_arrive_as_they_were(size: int) -> None:
    async def talk(websocket: Any, context: InvocationContext) -> None:
        data = bytearray(b"a" * size)
        await websocket.send_bytes(memoryview(data).cast("B"))
        await websocket.send_bytes(data)
        data[:] = b"b" * size
        data.clear()

    async with hosting(talk) as dial:
        client = await dial()
        client.transport.pause_reading()
        await asyncio.sleep(0.05)
        client.transport.resume_reading()
        client.send(frame(0x88, b"\x03\xe8"))
        answer = await client.rest()
    assert answer.count(b"a") == 2 * size
    assert b"b" not in answer


async def test_a_view_of_wide_items_is_sent_with_all_its_bytes() -> None:
    async def talk(websocket: Any, context: InvocationContext) -> None:
        await websocket.send_bytes(memoryview(bytes(range(8))).cast("I"))

    async with talking(talk) as url, dialled(url) as client:
        assert await client.recv() == bytes(range(8))
