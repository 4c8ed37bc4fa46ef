"""Frames and compression without a socket: whatever a client may send, in whatever pieces it comes."""

from __future__ import annotations

import struct
import zlib

import pytest
from aiohttp import WSMessage, WSMsgType
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from agentserver._websocket.closing import ProtocolError, close_payload, read_close
from agentserver._websocket.deflate import Deflate, Deflater, Inflater, negotiate
from agentserver._websocket.frames import FrameReader, header
from agentserver._websocket.handshake import accept
from agentserver.errors import InvocationError

MASK = bytes(range(4))


class Sink:
    """Keeps what a reader reads; stops it after every message if told to."""

    def __init__(self, *, stalls: bool = False) -> None:
        self.seen: list[object] = []
        self.stalls = stalls

    def on_message(self, message: WSMessage, size: int) -> bool:
        data = message.data
        assert size == len(data if isinstance(data, bytes) else data.encode())
        assert (message.type is WSMsgType.TEXT) is isinstance(data, str)
        self.seen.append(data)
        return not self.stalls

    def on_control(self, opcode: int, payload: bytes) -> bool:
        self.seen.append((opcode, payload))
        return True


def frame(first: int, payload: bytes) -> bytes:
    head = bytearray(header(first & 0x0F, len(payload)))
    head[0] = first
    head[1] |= 0x80
    return bytes(head) + MASK + bytes(byte ^ MASK[index & 3] for index, byte in enumerate(payload))


messages = st.one_of(st.text(max_size=300), st.binary(max_size=300), st.binary(min_size=120, max_size=600))
controls = st.tuples(st.sampled_from([8, 9, 10]), st.binary(max_size=125))


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[object], bytes]:
    """What is said, and its bytes: messages in fragments, with control frames between them."""
    said: list[object] = []
    raw = b""
    for message in draw(st.lists(messages, max_size=5)):
        payload = message.encode() if isinstance(message, str) else message
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        pieces = [payload[a:b] for a, b in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
        for index, piece in enumerate(pieces):
            if draw(st.booleans()):
                control = draw(controls)
                said.append(control)
                raw += frame(0x80 | control[0], control[1])
            opcode = 0 if index else 1 if isinstance(message, str) else 2
            raw += frame(opcode | (0x80 if index == len(pieces) - 1 else 0), piece)
        said.append(message)
    return said, raw


@settings(deadline=None, max_examples=60)
@given(streams(), st.lists(st.integers(1, 400), max_size=20), st.booleans())
def test_what_is_said_is_read_whole_and_in_order_in_whatever_pieces_it_comes(
    stream: tuple[list[object], bytes], sizes: list[int], stalls: bool
) -> None:
    said, raw = stream
    sink = Sink(stalls=stalls)
    reader = FrameReader(sink, 1 << 20)
    for size in sizes:
        reader.feed(raw[:size])
        raw = raw[size:]
    reader.feed(raw)
    for _ in said:
        reader.feed(b"")
    assert sink.seen == said


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=10))
def test_no_bytes_bring_the_reader_down(raw: bytes, sizes: list[int]) -> None:
    reader = FrameReader(Sink(), 1 << 16, Inflater(takeover=True))
    found: ProtocolError | None = None
    try:
        for size in sizes:
            reader.feed(raw[:size])
            raw = raw[size:]
        reader.feed(raw)
    except ProtocolError as error:
        found = error
    if found is not None:
        assert found.code in {1002, 1007, 1009}
        assert close_payload(found.code, found.reason.encode())


@pytest.mark.parametrize("offer", [
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9",
    'permessage-deflate; server_max_window_bits="12"',
])  # fmt: skip
def test_messages_survive_compression_as_it_was_agreed(offer: str) -> None:
    agreed = negotiate([offer])
    assert agreed is not None
    # The server's own inflater reads what a client with the same parameters sends, and the other way round.
    deflater = Deflater(agreed)
    sink = Sink()
    reader = FrameReader(sink, 1 << 20, Inflater(takeover=agreed.server_takeover))
    said: list[str | bytes] = ["", "hello", "hello", "hello " * 2000, b"\x00" * 100_000]
    for message in said:
        payload = deflater.message(message.encode() if isinstance(message, str) else message)
        first = 0x40 | (1 if isinstance(message, str) else 2)
        reader.feed(frame(first, payload[:3]) + frame(0x80, payload[3:]))
    assert sink.seen == said


@pytest.mark.parametrize(("offers", "answer"), [
    (["permessage-deflate"], "permessage-deflate"),
    (["permessage-deflate; client_max_window_bits"], "permessage-deflate"),
    (["permessage-deflate; server_max_window_bits=8", "permessage-deflate"], "permessage-deflate"),
    (["permessage-deflate; server_max_window_bits=15"], "permessage-deflate; server_max_window_bits=15"),
    (["permessage-deflate; server_max_window_bits=10"], "permessage-deflate; server_max_window_bits=10"),
    (["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
     "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
    (["x-webkit-deflate-frame"], None),
    (["permessage-deflate; server_max_window_bits"], None),
    (["permessage-deflate; server_max_window_bits=16"], None),
    (["permessage-deflate; server_no_context_takeover=1"], None),
    (["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
    (["permessage-deflate; unknown"], None),
    ([], None),
])  # fmt: skip
def test_an_offer_is_met_exactly_or_declined(offers: list[str], answer: str | None) -> None:
    agreed = negotiate(offers)
    assert (agreed.answer if agreed else None) == answer


def test_a_small_message_that_inflates_over_the_limit_is_too_big_and_never_held() -> None:
    bomb = Deflater(Deflate()).message(bytes(100 << 20))
    reader = FrameReader(Sink(), 1 << 16, Inflater(takeover=True))
    with pytest.raises(ProtocolError) as refused:
        reader.feed(frame(0xC2, bomb))
    assert refused.value.code == 1009


def test_damaged_compressed_data_is_a_protocol_error() -> None:
    reader = FrameReader(Sink(), 1 << 16, Inflater(takeover=True))
    with pytest.raises(ProtocolError) as refused:
        reader.feed(frame(0xC1, b"\xff\xff\xff\xff"))
    assert refused.value.code == 1002


def test_a_message_may_end_its_deflate_stream_but_not_hold_hundreds() -> None:
    def whole(data: bytes) -> bytes:
        stream = zlib.compressobj(1, zlib.DEFLATED, -15)
        return stream.compress(data) + stream.flush()

    sink = Sink()
    reader = FrameReader(sink, 1 << 16, Inflater(takeover=True))
    reader.feed(frame(0xC1, whole(b"one") + b"\x00") + frame(0xC1, whole(b"two") + b"\x00"))
    assert sink.seen == ["one", "two"]
    with pytest.raises(ProtocolError):
        reader.feed(frame(0xC1, whole(b"x") * 300))


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1014, 3000, 4999])
def test_a_close_frame_says_what_it_was_given(code: int) -> None:
    assert read_close(close_payload(code, "wegen Überfüllung".encode())) == (code, "wegen Überfüllung")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_code_that_nobody_may_send_is_refused_both_ways(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        close_payload(code, b"")
    with pytest.raises(ProtocolError):
        read_close(struct.pack("!H", code))


def test_list_headers_in_several_lines_are_read_together() -> None:
    headers = CIMultiDict({"Upgrade": "websocket", "Sec-WebSocket-Version": "13"})
    headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    headers.extend([("Connection", "keep-alive"), ("Connection", "Upgrade")])
    headers.extend([("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b, c")])
    handshake = accept(make_mocked_request("GET", "/", headers), ("c", "b"))
    assert (handshake.protocol, handshake.headers["Sec-WebSocket-Accept"]) == (
        "b",
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    )


@pytest.mark.parametrize(
    "key", ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ==", "dGhl IHNhbXBsZSBub25jZQ==", "é"]
)
def test_a_key_that_is_not_16_bytes_in_base64_is_refused(key: str) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    with pytest.raises(InvocationError, match="16 bytes"):
        accept(make_mocked_request("GET", "/", CIMultiDict({**headers, "Sec-WebSocket-Key": key})))
