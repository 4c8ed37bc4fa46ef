"""Large payloads are read where they are unmasked, and nothing of that can be seen from outside."""

from __future__ import annotations

import asyncio
import struct
import zlib
from hashlib import shake_128

import pytest
from aiohttp import WSMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from agentserver._websocket.aiohttp_internals import unmask
from agentserver._websocket.closing import ProtocolError
from agentserver._websocket.deflate import Inflater
from agentserver._websocket.frames import FrameReader
from agentserver._websocket.large_messages import LARGE_PAYLOAD, UNWATCHED, LargePayloads, Lender, _pieces
from tests.websocket.wire import MIB, close, hosting, on_both_loops

LIMIT = 4 * MIB


def frame(first: int, payload: bytes, mask: bytes = b"\x01\x22\x43\x84") -> bytes:
    """A client's frame, masked fast."""
    size = len(payload)
    length = (
        bytes((size | 0x80,)) if size < 126
        else b"\xfe" + struct.pack("!H", size) if size < 1 << 16
        else b"\xff" + struct.pack("!Q", size)
    )  # fmt: skip
    body = bytearray(payload)
    unmask(mask, body)
    return bytes((first,)) + length + mask + body


def noise(seed: int, size: int) -> bytes:
    """Bytes that look like no others."""
    return shake_128(str(seed).encode()).digest(size)


class Wire(asyncio.Transport):
    """Gives its protocol bytes as a loop does, in reads of the sizes it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self.lent = 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol
        self.lent += isinstance(protocol, LargePayloads)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return False

    def bring(self, data: bytes, sizes: list[int]) -> None:
        view = memoryview(data)
        number = 0
        while view:
            size = sizes[number % len(sizes)]
            number += 1
            protocol = self.protocol
            if isinstance(protocol, LargePayloads):
                buffer = protocol.get_buffer(-1)
                size = min(size, len(view), len(buffer))
                buffer[:size] = view[:size]
                protocol.buffer_updated(size)
            else:
                assert isinstance(protocol, Reading)
                size = min(size, len(view))
                protocol.data_received(bytes(view[:size]))
            view = view[size:]


class Reading(Lender):
    """What a connection does with a reader and a transport, and no more."""

    @property
    def is_paused(self) -> bool:
        return False

    def __init__(self, wire: Wire, inflate: Inflater | None = None) -> None:
        self.watched = UNWATCHED
        self.seen: list[object] = []
        self.wire = wire
        self.reader = FrameReader(self, LIMIT, inflate)
        self.failure: ProtocolError | None = None
        wire.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        if self.failure is None:
            try:
                self.reader.feed(data)
            except ProtocolError as error:
                self.fail(error)
            if self.reader.left > LARGE_PAYLOAD:
                LargePayloads(self, self.reader, self.wire)

    def fail(self, error: ProtocolError) -> None:
        self.failure = error

    def on_message(self, message: WSMessage, size: int) -> bool:
        self.seen.append(message.data)
        return True

    def on_control(self, opcode: int, payload: bytes) -> bool:
        self.seen.append((opcode, payload))
        return True


SIZES = st.one_of(
    st.integers(0, 300),
    st.integers(65_000, 67_000),
    st.integers(250_000, 300_000),
    st.integers(300_000, 900_000),
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[object], bytes]:
    """What is said, and its bytes: messages of all sizes, in fragments too, and Pings between them."""
    said: list[object] = []
    raw = b""
    for sizes in draw(st.lists(st.lists(SIZES, min_size=1, max_size=3), min_size=1, max_size=5)):
        is_text = draw(st.booleans())
        message = noise(len(raw), sum(sizes))
        if is_text:
            message = message.hex()[: len(message)].encode()
        rest = message
        for index, size in enumerate(sizes):
            if draw(st.booleans()):
                said.append((9, b"p"))
                raw += frame(0x89, b"p")
            first = (0 if index else 1 if is_text else 2) | (0x80 if index == len(sizes) - 1 else 0)
            raw += frame(first, rest[:size], noise(index, 4))
            rest = rest[size:]
        said.append(message.decode() if is_text else message)
    return said, raw


@settings(deadline=None, max_examples=60)
@given(
    streams(),
    st.lists(
        st.sampled_from([1, 13, 1000, 65_550, 100_000, LARGE_PAYLOAD, 1 << 20]), min_size=1, max_size=6
    ).filter(lambda sizes: max(sizes) > 60_000),
)
def test_messages_of_all_sizes_are_read_whole_and_in_order_in_whatever_pieces_they_come(
    stream: tuple[list[object], bytes], sizes: list[int]
) -> None:
    said, raw = stream
    wire = Wire()
    reading = Reading(wire)
    wire.bring(raw, sizes)
    assert reading.failure is None
    assert reading.seen == said
    assert len(_pieces.spare) <= 8


def test_large_messages_in_a_row_are_read_without_changing_protocols_between() -> None:
    wire = Wire()
    reading = Reading(wire)
    payloads = [noise(number, MIB) for number in range(20)]
    for payload in payloads:
        wire.bring(frame(0x82, payload), [256_000])
    assert reading.seen == payloads
    assert wire.lent == 1
    wire.bring(frame(0x81, b"small"), [1 << 20])
    assert reading.seen[-1] == "small"
    assert wire.protocol is reading


def test_a_compressed_message_may_follow_a_large_one() -> None:
    deflater = zlib.compressobj(wbits=-15)
    text = noise(1, 400_000).hex()
    squeezed = (deflater.compress(text.encode()) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    wire = Wire()
    reading = Reading(wire, Inflater(takeover=True))
    wire.bring(frame(0x82, bytes(MIB)) + frame(0xC1, squeezed) + frame(0x82, bytes(MIB)), [1 << 18])
    assert reading.seen == [bytes(MIB), text, bytes(MIB)]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(0x81, b"\xff" * 500_000), 1007),
        (frame(0x82, bytes(MIB))[:4] + b"\x7f" * 6 + bytes(300_000), 1009),
        (frame(0xC2, bytes(MIB)), 1002),
        (b"\x82\x7f" + struct.pack("!Q", MIB) + bytes(MIB), 1002),
    ],
    ids=["not UTF-8", "too big", "a reserved bit", "not masked"],
)
def test_what_breaks_the_protocol_behind_a_large_message_is_refused(wrong: bytes, code: int) -> None:
    wire = Wire()
    reading = Reading(wire)
    wire.bring(frame(0x82, bytes(MIB)), [LARGE_PAYLOAD])
    assert isinstance(wire.protocol, LargePayloads)
    wire.bring(wrong, [LARGE_PAYLOAD])
    assert reading.seen == [bytes(MIB)]
    assert reading.failure is not None
    assert reading.failure.code == code


@on_both_loops
async def test_a_connection_takes_large_and_small_messages_in_turn() -> None:
    async with hosting() as dial:
        client = await dial()
        for number in range(6):
            large = noise(number, MIB + number)
            client.send(frame(0x82, large), frame(0x82, b"small"))
            assert await client.read(10) == b"\x82\x7f" + struct.pack("!Q", len(large))
            assert await client.read(len(large)) == large
            assert await client.read(7) == b"\x82\x05small"
            client.send(frame(0x89, b"p"))
            assert await client.read(3) == b"\x8a\x01p"
        client.send(frame(0x82, bytes(MIB)), frame(0x82, bytes(MIB)), frame(0x88, b""))
        assert await client.rest() == 2 * (b"\x82\x7f" + struct.pack("!Q", MIB) + bytes(MIB)) + b"\x88\x00"


@on_both_loops
async def test_a_large_text_that_is_no_utf_8_behind_a_large_message_closes_with_1007() -> None:
    async with hosting() as dial:
        client = await dial()
        client.send(frame(0x82, bytes(MIB)))
        await client.read(MIB + 10)
        client.send(frame(0x81, b"\xff" * MIB))
        assert await client.rest() == close(1007, "not valid UTF-8")
