"""WebSocket frames, valid and broken, to our server and to the sans-I/O protocol of `websockets`.

Compared are the messages that a handler gets, the pongs, and the code of the close frame.
"""

from __future__ import annotations

import asyncio
import codecs
import random
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiohttp import WSMsgType, web
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from agentserver import (
    AgentHostBuilder,
    InvocationContext,
    InvocationsServerOptions,
    InvocationWebSocketHandler,
)

from .wire import Accept, cut, exchange, host

MAX_SIZE: Final = 100_000
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_SIZES: Final = (0, 1, 2, 5, 124, 125, 126, 127, 128, 1000, 65_535, 65_536, 70_000)
_LETTERS: Final = ("a", "é", "€", "𝄞", "\x00", "\U0010ffff", "\ud7ff", "\ue000")
_NOT_UTF8: Final = (b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xff")
_CLOSES: Final = (
    b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0b\xb8", b"\x13\x87x", b"\x03\xe9", b"\x03\xf3",
    b"\x03", b"\x03\xec", b"\x03\xed", b"\x03\xee", b"\x03\xe7", b"\x13\x88", b"\x00\x00", b"\x03\xe8\xff",
    b"\x03\xf7", b"\x04\x4c",
)  # fmt: skip
_HEAD: Final = (
    b"GET /invocations_ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
_OFFER: Final = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


class Case(NamedTuple):
    """One conversation.

    Args:
        compressed: Whether compression is negotiated.
        frames: The client's frames as they go over the wire; the last is a close.
        pieces: The same bytes, cut anywhere.
    """

    compressed: bool
    frames: list[bytes]
    pieces: list[bytes]

    @property
    def head(self) -> bytes:
        """The request for the upgrade."""
        return _HEAD + (_OFFER if self.compressed else b"") + b"\r\n"


@dataclass
class Trace:
    """What a server made of a case."""

    messages: list[bytes | str] = field(default_factory=list[bytes | str])
    pongs: list[bytes] = field(default_factory=list[bytes])
    code: int = 0


# --- cases


def generate(rng: random.Random) -> Case:
    """A case; about half of them have a defect somewhere."""
    compressed = rng.random() < 0.4
    deflate = zlib.compressobj(wbits=-15) if compressed else None
    frames: list[bytes] = []
    for _ in range(rng.randrange(6)):
        frames += _message(rng, deflate)
    if rng.random() < 0.5:
        frames.insert(rng.randrange(len(frames) + 1), _defect(rng, compressed=compressed))
    frames.append(frame(CLOSE, rng.choice(_CLOSES), rng))
    if rng.random() < 0.2:
        frames.append(frame(PING, b"after the end", rng))
    return Case(compressed, frames, cut(rng, b"".join(frames)))


def frame(
    opcode: int, payload: bytes, rng: random.Random, *, first: int = 0x80, masked: bool = True, form: int = 0
) -> bytes:
    """A frame of a client; *form* is the least number of bytes that its length is written with."""
    size = len(payload)
    if size < 126 and form < 2:
        length = bytes([size])
    elif size < 1 << 16 and form < 8:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    if not masked:
        return bytes([first | opcode]) + length + payload
    mask = rng.choice((b"\0\0\0\0", rng.randbytes(4)))
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    data = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return bytes([first | opcode, length[0] | 0x80]) + length[1:] + mask + data


def _message(rng: random.Random, deflate: zlib._Compress | None) -> list[bytes]:
    opcode = rng.choice((TEXT, BINARY))
    data = _text(rng) if opcode == TEXT else rng.randbytes(rng.choice(_SIZES))
    first = 0
    if deflate is not None and rng.random() < 0.7:
        first = 0x40
        data = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
        data = data.removesuffix(b"\x00\x00\xff\xff")
        # A block of the reserved type. Of other damage each decoder has a view of its own.
        if rng.random() < 0.05:
            data = b"\x06" + data
    parts = cut(rng, data) if rng.random() < 0.5 else [data]
    frames: list[bytes] = []
    for number, part in enumerate(parts):
        last = 0x80 if number == len(parts) - 1 else 0
        kind = CONTINUATION if number else opcode
        frames.append(frame(kind, part, rng, first=last | (0 if number else first)))
        if rng.random() < 0.3:
            control = rng.choice((PING, PING, PONG))
            frames.append(frame(control, rng.randbytes(rng.choice((0, 1, 4, 125))), rng))
    return frames


def _text(rng: random.Random) -> bytes:
    data = "".join(rng.choices(_LETTERS, k=rng.choice(_SIZES) // 4)).encode()
    if rng.random() < 0.1:
        place = rng.randrange(len(data) + 1)
        data = data[:place] + rng.choice(_NOT_UTF8) + data[place:]
    return data


def _defect(rng: random.Random, *, compressed: bool) -> bytes:
    def amid() -> bytes:
        return frame(CONTINUATION, b"x", rng, first=rng.choice((0, 0x80)))

    makers: tuple[Callable[[], bytes], ...] = (
        lambda: frame(
            rng.choice((TEXT, BINARY, PING)), b"x", rng, first=0x80 | rng.choice((0x10, 0x20, 0x40))
        ),
        lambda: frame(rng.choice((3, 4, 5, 6, 7, 11, 12, 15)), b"x", rng),
        lambda: frame(rng.choice((TEXT, PING, CLOSE)), b"xy", rng, masked=False),
        lambda: frame(rng.choice((PING, PONG, CLOSE)), bytes(rng.choice((126, 200))), rng),
        lambda: frame(rng.choice((PING, PONG, CLOSE)), b"\x03\xe8", rng, first=0),
        amid,
        lambda: frame(TEXT, b"begun", rng, first=0),
        lambda: frame(BINARY, bytes(MAX_SIZE + rng.choice((0, 1, 1000))), rng),
        lambda: frame(TEXT, b"long length", rng, form=rng.choice((2, 8))),
        lambda: frame(CLOSE, rng.choice(_CLOSES), rng),
    )
    # Plain bytes amid a compressed message are damage, see above.
    return rng.choice([make for make in makers if not (compressed and make is amid)])()


# --- what websockets makes of a case


def expected(case: Case) -> Trace:
    """What the protocol of `websockets` makes of *case*, fed frame by frame."""
    extensions = [ServerPerMessageDeflateFactory()] if case.compressed else None
    protocol = ServerProtocol(max_size=MAX_SIZE, extensions=extensions)
    protocol.receive_data(case.head)
    (request,) = protocol.events_received()
    assert isinstance(request, Request)
    protocol.send_response(protocol.accept(request))
    protocol.data_to_send()
    trace, assembler, breaks_order = Trace(), _Assembler(), False
    for data in case.frames:
        if protocol.close_sent is None:
            within = protocol.current_size is not None
            protocol.receive_data(data)
            # A new message within another: it looks at the size first, ours at the order.
            breaks_order = within and data[0] & 0x0F in (TEXT, BINARY)
            for event in protocol.events_received():
                assert isinstance(event, Frame)
                try:
                    trace.messages += assembler.take(event)
                except UnicodeDecodeError:
                    protocol.fail(1007)
        trace.pongs += [
            payload for opcode, payload in frames_of(b"".join(protocol.data_to_send())) if opcode == PONG
        ]
    trace.code = _code(protocol, breaks_order=breaks_order)
    return trace


class _Assembler:
    """Frames to messages; text that is not UTF-8 is noticed in the frame in which it is."""

    def __init__(self) -> None:
        self._text = ""
        self._data = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def take(self, event: Frame) -> Iterator[bytes | str]:
        if event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if event.opcode is not Opcode.CONT:
            self._text, self._data = "", b""
            self._decoder = codecs.getincrementaldecoder("utf-8")() if event.opcode is Opcode.TEXT else None
        if self._decoder is not None:
            self._text += self._decoder.decode(event.data, event.fin)
        self._data += event.data
        if event.fin:
            yield self._data if self._decoder is None else self._text


def _code(protocol: ServerProtocol, *, breaks_order: bool) -> int:
    assert protocol.close_sent is not None, "every case ends with a close"
    if breaks_order:
        return 1002
    # It wants a message to be finished before the close; RFC 6455 (5.4, 5.5.1) lets a close come within.
    if protocol.close_sent.reason == "incomplete fragmented message" and protocol.close_rcvd is not None:
        return protocol.close_rcvd.code
    return protocol.close_sent.code


# --- what ours makes of it


class Recorder(InvocationWebSocketHandler):
    """Writes down the messages of one conversation after the other."""

    def __init__(self) -> None:
        self.messages: list[bytes | str] = []
        self.ended = asyncio.Event()

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Write down what comes."""
        try:
            async for message in websocket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self.messages.append(message.data)
        finally:
            self.ended.set()


class Ours:
    """Our server with a `Recorder` on it."""

    def __init__(self, accept: Accept, recorder: Recorder) -> None:
        self._accept = accept
        self._recorder = recorder

    async def judge(self, case: Case) -> Trace:
        """What our server makes of *case*."""
        recorder = self._recorder
        recorder.messages, recorder.ended = [], asyncio.Event()
        answer = await exchange(self._accept, case.pieces, head=case.head)
        await asyncio.wait_for(recorder.ended.wait(), 10)
        _, _, after = answer.data.partition(b"\r\n\r\n")
        sent = list(frames_of(after))
        codes = [int.from_bytes(payload[:2], "big") or 1005 for opcode, payload in sent if opcode == CLOSE]
        return Trace(
            recorder.messages,
            [payload for opcode, payload in sent if opcode == PONG],
            codes[0] if codes and answer.closed else 0,
        )


@asynccontextmanager
async def ours() -> AsyncGenerator[Ours, None]:
    """Our server, to judge cases with."""
    recorder = Recorder()
    options = InvocationsServerOptions(
        websocket_max_message_size=MAX_SIZE, websocket_compression=True, websocket_close_timeout=5.0
    )

    def configure(builder: AgentHostBuilder) -> None:
        builder.add_invocations(recorder, options=options).configure(request_logging=False)

    async with host(configure) as made:
        yield Ours(made.accept, recorder)


def frames_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole, unmasked frames of a server."""
    at = 0
    while at + 2 <= len(data):
        opcode, length = data[at] & 0x0F, data[at + 1] & 0x7F
        at += 2
        if length > 125:
            width = 2 if length == 126 else 8
            length = int.from_bytes(data[at : at + width], "big")
            at += width
        yield opcode, data[at : at + length]
        at += length
