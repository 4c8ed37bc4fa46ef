"""WebSocket frames without I/O: bytes in, messages and control frames out (RFC 6455, sections 5 to 8)."""

from __future__ import annotations

import codecs
from typing import Final, Protocol

from aiohttp import WSMessage, WSMsgType
from aiohttp._websocket.helpers import websocket_mask

from agentserver.wire import CloseCode

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MAX_CONTROL_SIZE: Final = 125
MAX_REASON_SIZE: Final = MAX_CONTROL_SIZE - 2
_FINAL: Final = 0x80
_COMPRESSED: Final = 0x40
_MASKED: Final = 0x80
# Codes that RFC 6455 (7.4.1) and the IANA registry let a peer send, besides 3000 to 4999.
_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
# Payloads that come in small pieces are gathered, so that a message never is a million objects.
_GATHERED: Final = 1 << 16

_new_utf8 = codecs.getincrementaldecoder("utf-8")


class FrameError(Exception):
    """The peer broke the protocol.

    Args:
        code: The close code to answer with.
        reason: What was wrong, for the close frame.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


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

    def piece(self, data: bytes | bytearray, limit: int) -> bytearray:
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
        "_inflate",
        "_kind",
        "_left",
        "_mask",
        "_max_size",
        "_pieces",
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
        self._pieces: list[bytearray] | None = None
        self._utf8: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Read *data*; what the receiver does not want yet is kept for the next call.

        Raises:
            FrameError: If the client broke the protocol. Nothing can be read after that.
        """
        if self._rest:
            data = self._rest + data
        at, go_on = self._continue(data) if self._left else (0, True)
        end = len(data)
        while go_on and end - at > 1:
            first, second = data[at], data[at + 1]
            length = second & 0x7F
            body = at + (6 if length < 126 else 8 if length == 126 else 14)
            self._check(first, second)
            if body > end:
                break
            if length > MAX_CONTROL_SIZE:
                length = int.from_bytes(data[at + 2 : body - 4], "big")
            after = body + length
            if first & 0x08:
                if after > end:
                    break
                control = _unmasked(data[body:after], data[body - 4 : body])
                go_on = self._receiver.on_control(first & 0x0F, bytes(control))
            else:
                go_on = self._data(first, length, data[body - 4 : body], data[body:after])
            at = min(after, end)
        self._rest = data[at:] if at < end else b""

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

    def _data(self, first: int, length: int, mask: bytes, payload: bytes) -> bool:
        if not first & _COMPRESSED and not self._compressed:
            self._count(length)
        whole = len(payload) == length
        if first & _FINAL and whole and not self._kind and not first & _COMPRESSED:
            self._size = 0
            return self._receiver.on_message(_message(first & 0x0F, _unmasked(payload, mask)), length)
        if not self._kind:
            self._begin(first)
        self._final = bool(first & _FINAL)
        if not whole:
            self._left = length - len(payload)
            self._mask = _rotated(mask, len(payload))
        self._add(_unmasked(payload, mask))
        return self._finish() if whole and self._final else True

    def _continue(self, data: bytes) -> tuple[int, bool]:
        """Take the next piece of a payload that did not come whole: where it ends, and whether to go on."""
        if len(data) > self._left:
            data = data[: self._left]
        at = len(data)
        self._left -= at
        self._add(_unmasked(data, self._mask))
        if self._left:
            self._mask = _rotated(self._mask, at)
        elif self._final:
            return at, self._finish()
        return at, True

    def _begin(self, first: int) -> None:
        self._kind = first & 0x0F
        self._compressed = bool(first & _COMPRESSED)
        self._pieces = []
        self._utf8 = _new_utf8() if self._kind == TEXT else None

    def _add(self, piece: bytearray) -> None:
        if self._compressed:
            assert self._inflate is not None
            piece = self._inflate.piece(piece, self._max_size - self._size + 1)
            self._count(len(piece))
        self._keep(piece)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._max_size:
            raise FrameError(CloseCode.MESSAGE_TOO_BIG, f"a message may have at most {self._max_size} bytes")

    def _keep(self, piece: bytearray) -> None:
        if self._utf8 is not None:
            _validate(self._utf8, piece, final=False)
        assert self._pieces is not None
        if self._pieces and len(self._pieces[-1]) < _GATHERED:
            self._pieces[-1] += piece
        else:
            self._pieces.append(piece)

    def _finish(self) -> bool:
        if self._compressed:
            assert self._inflate is not None
            rest = self._inflate.end(self._max_size - self._size + 1)
            self._count(len(rest))
            self._keep(rest)
        if self._utf8 is not None:
            _validate(self._utf8, b"", final=True)
        assert self._pieces is not None
        data = b"".join(self._pieces)
        message = _message(self._kind, data)
        size = self._size
        self._kind, self._compressed, self._size, self._pieces, self._utf8 = (
            CONTINUATION,
            False,
            0,
            None,
            None,
        )
        return self._receiver.on_message(message, size)


def header(opcode: int, length: int, *, compressed: bool = False) -> bytes:
    """The header of a whole, unmasked frame, as a server sends it."""
    first = _FINAL | (_COMPRESSED if compressed else 0) | opcode
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")


def close_payload(code: int, reason: bytes) -> bytes:
    """The payload of a close frame.

    Raises:
        ValueError: If *code* may not be sent or *reason* is too long or no UTF-8.
    """
    if code not in _SENDABLE and not 3000 <= code <= 4999:
        raise ValueError(f"{code} is no close code to send: use 1000 or one from 3000 to 4999")
    if len(reason) > MAX_REASON_SIZE:
        raise ValueError(f"the reason of a close has {len(reason)} bytes, but at most 123 fit")
    reason.decode()
    return code.to_bytes(2, "big") + reason


def read_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a client's close frame; ``NO_STATUS`` if it has none.

    Raises:
        FrameError: If the payload is malformed.
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or (code not in _SENDABLE and not 3000 <= code <= 4999):
        raise _broken("a close frame must have a valid code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _unmasked(payload: bytes, mask: bytes) -> bytearray:
    data = bytearray(payload)
    websocket_mask(mask, data)
    return data


def _rotated(mask: bytes, by: int) -> bytes:
    by &= 3
    return mask[by:] + mask[:by]


def _message(opcode: int, data: bytes | bytearray) -> WSMessage:
    if opcode == BINARY:
        return WSMessage(WSMsgType.BINARY, bytes(data), "")
    try:
        return WSMessage(WSMsgType.TEXT, data.decode(), "")
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _validate(decoder: codecs.IncrementalDecoder, data: bytes | bytearray, *, final: bool) -> None:
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _broken(reason: str) -> FrameError:
    return FrameError(CloseCode.PROTOCOL_ERROR, reason)


def _not_utf8() -> FrameError:
    return FrameError(CloseCode.INVALID_PAYLOAD, "not valid UTF-8")
