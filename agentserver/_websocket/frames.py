"""WebSocket frames without I/O: bytes in, messages and control frames out (RFC 6455, sections 5 to 8)."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Final, Protocol, cast

from aiohttp import WSMessage, WSMsgType

from agentserver._websocket.aiohttp_internals import unmask
from agentserver._websocket.closing import MAX_CONTROL_SIZE, ProtocolError
from agentserver.wire import CloseCode

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_FINAL: Final = 0x80
_COMPRESSED: Final = 0x40
_MASKED: Final = 0x80
_WHOLE: Final = frozenset({_FINAL | TEXT, _FINAL | BINARY})
# Larger payloads are unmasked in steps: a buffer of this size is used again, a larger one is memory that
# the system gives and takes each time. A multiple of the mask's 4 bytes.
_STEP: Final = 1 << 16
_LARGEST_HEADER: Final = 14  # bytes
# A named tuple's own constructor costs twice as much.
_new: Callable[[type[WSMessage], tuple[WSMsgType, bytes | str, str]], WSMessage] = tuple.__new__  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - it is generic

_new_utf8 = codecs.getincrementaldecoder("utf-8")


class Receiver(Protocol):
    """Takes what a `FrameReader` reads."""

    def on_message(self, message: WSMessage, size: int) -> bool:
        """Take a whole message of *size* bytes; whether to read on."""
        ...

    def on_control(self, opcode: int, payload: bytes) -> bool:
        """Take a control frame; whether to read on."""
        ...


class Inflate(Protocol):
    """Decompresses a message."""

    def piece(self, data: bytes | bytearray | memoryview, limit: int) -> bytearray:
        """Decompress *data* to at most *limit* bytes."""
        ...

    def end(self, limit: int) -> bytearray:
        """What is left of the message."""
        ...


class FrameReader:
    """Reads the frames of a client.

    Args:
        receiver: Takes the messages and control frames.
        max_size: Bytes a message may have, after decompression.
        inflate: Decompresses messages; ``None`` if that was not negotiated.
    """

    __slots__ = (
        "_compressed",
        "_final",
        "_gathered",
        "_inflate",
        "_kind",
        "_left",
        "_mask",
        "_max_size",
        "_receiver",
        "_rest",
        "_size",
        "_utf8",
    )

    def __init__(self, receiver: Receiver, max_size: int, inflate: Inflate | None = None) -> None:
        self._receiver = receiver
        self._max_size = max_size
        self._inflate = inflate
        self._rest = b""
        self._left = 0
        self._mask = b""
        self._final = False
        self._kind = CONTINUATION
        self._compressed = False
        self._size = 0
        self._gathered: list[bytearray | memoryview] | None = None
        self._utf8: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Read *data*; what the receiver does not want yet is kept for the next call.

        Raises:
            ProtocolError: If the client broke the protocol. Nothing can be read after that.
        """
        if self._rest:
            data = self._rest + data
        at, go_on = self._continue(data) if self._left else (0, True)
        end = len(data)
        while go_on and end - at > 1:
            first, second = data[at], data[at + 1]
            length = second & 0x7F
            body = at + (6 if length < 126 else 8 if length == 126 else 14)
            plain = first in _WHOLE and second >= _MASKED and not self._kind
            if not plain:
                self._check(first, second)
            if body > end:
                break
            if length > MAX_CONTROL_SIZE:
                length = int.from_bytes(data[at + 2 : body - 4], "big")
            at = body + length
            if plain and at <= end and length < _STEP:
                payload = _unmasked(data[body:at], data[body - 4 : body])
                go_on = self._message(first & 0x0F, payload, length)
            elif not first & 0x08:
                go_on = self._data(first, length, data, body)
            elif at <= end:
                payload = _unmasked(data[body:at], data[body - 4 : body])
                go_on = self._receiver.on_control(first & 0x0F, bytes(payload))
            else:
                at = body - 6
                break
        self._rest = data[at:] if at < end else b""

    @property
    def left(self) -> int:
        """Bytes that are still to come of the payload that is being read."""
        return self._left

    @property
    def gathers(self) -> bool:
        """Whether a message has begun and is not whole."""
        return bool(self._left or self._gathered)

    def adopt(self, piece: bytearray, size: int) -> bool:
        """Begin with *piece* if it is the beginning of a message in one large frame, and nothing else.

        It is unmasked where it is and must be left alone until nothing is left of the payload.

        Args:
            piece: What came, at the boundary of a frame.
            size: How much of it that is.

        Returns:
            Whether it was; if not, nothing was read.

        Raises:
            ProtocolError: If the client broke the protocol.
        """
        begun = size - _LARGEST_HEADER
        if begun <= _STEP or piece[0] not in _WHOLE or piece[1] != _MASKED | 127 or self._kind or self._rest:
            return False
        length = int.from_bytes(piece[2:10], "big")
        if length <= begun:
            return False
        mask = bytes(piece[10:14])
        self._begin(piece[0], length, mask)
        unmask(mask[2:] + mask[:2], piece)  # so turned, it fits the payload behind 14 bytes of header
        self._took(memoryview(piece)[_LARGEST_HEADER:size])
        return True

    def fill(self, piece: bytearray, size: int) -> None:
        """Take *size* bytes of the payload that is being read, a multiple of 4 or all that is left of it.

        Args:
            piece: Begins with them. It is unmasked where it is and must be left alone until nothing is left.
            size: How many they are.

        Raises:
            ProtocolError: If the client broke the protocol.
        """
        if size <= _STEP:
            piece = piece[:size]
        unmask(self._mask, piece)
        self._took(piece if size == len(piece) else memoryview(piece)[:size])
        if not self._left and self._final:
            self._finish()

    def _took(self, piece: bytearray | memoryview) -> None:
        self._add(piece)
        self._left -= len(piece)
        turn = len(piece) & 3
        self._mask = self._mask[turn:] + self._mask[:turn]

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if second < _MASKED:
            raise _broken("a client's frames must be masked")
        if opcode & 0x08:
            if opcode > PONG:
                raise _broken(f"unknown opcode {opcode}")
            if first != _FINAL | opcode:
                raise _broken("a control frame must be whole and without reserved bits")
            if second & 0x7F > MAX_CONTROL_SIZE:
                raise _broken("a control frame has at most 125 bytes")
            return
        if opcode > BINARY:
            raise _broken(f"unknown opcode {opcode}")
        if (opcode == CONTINUATION) is not bool(self._kind):
            raise _broken("a message must be finished before the next" if opcode else "nothing to continue")
        if first & 0x70 and (first & 0x70 != _COMPRESSED or self._inflate is None or not opcode):
            raise _broken("a reserved bit is set")

    def _message(self, opcode: int, payload: bytearray, size: int) -> bool:
        if size > self._max_size:
            raise _too_big(self._max_size)
        return self._receiver.on_message(_message(opcode, payload), size)

    def _data(self, first: int, length: int, data: bytes, body: int) -> bool:
        """Begin with a payload that is part of a message, that is large, or that has not come whole."""
        self._begin(first, length, data[body - 4 : body])
        return self._continue(data, body)[1]

    def _begin(self, first: int, length: int, mask: bytes) -> None:
        if not self._kind:
            self._kind = first & 0x0F
            self._compressed = bool(first & _COMPRESSED)
            self._utf8 = _new_utf8() if self._kind == TEXT else None
        if not self._compressed:
            self._count(length)
        self._final = bool(first & _FINAL)
        self._mask = mask
        self._left = length

    def _continue(self, data: bytes, start: int = 0) -> tuple[int, bool]:
        """Take what *data* has of a payload, from *start* on: where that ends, and whether to go on."""
        end = min(start + self._left, len(data))
        view = memoryview(data)
        for at in range(start, end, _STEP):
            self._add(_unmasked(view[at : min(at + _STEP, end)], self._mask))
        self._left -= end - start
        if self._left:
            turn = (end - start) & 3
            self._mask = self._mask[turn:] + self._mask[:turn]
            return end, True
        return end, self._finish() if self._final else True

    def _add(self, piece: bytearray | memoryview) -> None:
        if self._compressed:
            assert self._inflate is not None
            piece = self._inflate.piece(piece, self._max_size - self._size + 1)
            self._count(len(piece))
        self._keep(piece)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._max_size:
            raise _too_big(self._max_size)

    def _keep(self, piece: bytearray | memoryview) -> None:
        if self._utf8 is not None:
            _validate(self._utf8, piece, final=False)
        if self._gathered is None:
            self._gathered = [piece]
            return
        last = self._gathered[-1]
        if isinstance(last, bytearray) and len(last) + len(piece) <= _STEP:
            last += piece
        else:
            self._gathered.append(piece)

    def _finish(self) -> bool:
        if self._compressed:
            assert self._inflate is not None
            rest = self._inflate.end(self._max_size - self._size + 1)
            self._count(len(rest))
            self._keep(rest)
        if self._utf8 is not None:
            _validate(self._utf8, b"", final=True)
        data = b"" if self._gathered is None else b"".join(self._gathered)
        message, size = _message(self._kind, data), self._size
        self._kind, self._compressed, self._size = CONTINUATION, False, 0
        self._gathered = self._utf8 = None
        return self._receiver.on_message(message, size)


def header(opcode: int, length: int, *, compressed: bool = False) -> bytes:
    """The header of a whole, unmasked frame, as a server sends it."""
    first = _FINAL | (_COMPRESSED if compressed else 0) | opcode
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


def ping_payload(name: str, data: object) -> bytes:
    """The payload of a Ping or a Pong, which *name* says for the sentence of an error.

    Raises:
        TypeError: If *data* is neither bytes nor str.
        ValueError: If it is too long.
    """
    if not isinstance(data, bytes | bytearray | memoryview | str):
        raise TypeError(f"a {name} carries bytes or str, not {type(data).__name__}")
    payload = data.encode() if isinstance(data, str) else bytes(cast("bytes | bytearray", data))
    if len(payload) > MAX_CONTROL_SIZE:
        raise ValueError(f"a {name} carries at most {MAX_CONTROL_SIZE} bytes, not {len(payload)}")
    return payload


def _unmasked(payload: bytes | memoryview, mask: bytes) -> bytearray:
    data = bytearray(payload)
    unmask(mask, data)
    return data


def _message(opcode: int, data: bytes | bytearray) -> WSMessage:
    if opcode == BINARY:
        return _new(WSMessage, (WSMsgType.BINARY, bytes(data), ""))
    try:
        return _new(WSMessage, (WSMsgType.TEXT, data.decode(), ""))
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _validate(
    decoder: codecs.IncrementalDecoder, data: bytes | bytearray | memoryview, *, final: bool
) -> None:
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _broken(reason: str) -> ProtocolError:
    return ProtocolError(CloseCode.PROTOCOL_ERROR, reason)


def _not_utf8() -> ProtocolError:
    return ProtocolError(CloseCode.INVALID_PAYLOAD, "not valid UTF-8")


def _too_big(limit: int) -> ProtocolError:
    return ProtocolError(CloseCode.MESSAGE_TOO_BIG, f"a message may have at most {limit} bytes")
