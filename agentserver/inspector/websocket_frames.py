"""WebSocket frames out of a direction of a connection's bytes, as they come. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

__all__ = ["Frame", "FrameReader"]

_KINDS: Final = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
_INFLATED_LIMIT: Final = 64 * 1024
_TAIL: Final = b"\x00\x00\xff\xff"


@dataclass(frozen=True)
class Frame:
    """One frame.

    Args:
        kind: ``text``, ``binary``, ``continuation``, ``close``, ``ping``, ``pong``, or the opcode's number.
        data: The payload, unmasked and inflated; of a large one the beginning.
        size: Bytes of the payload on the wire.
        is_final: Whether the message ends with it.
        is_compressed: Whether it came compressed.
    """

    kind: str
    data: bytes
    size: int
    is_final: bool = True
    is_compressed: bool = False


class FrameReader:
    """Reads the frames of one direction.

    Args:
        keeps_context: Whether a compressed message may refer to those before it.
    """

    def __init__(self, *, keeps_context: bool = True) -> None:
        self._buffer = bytearray()
        self._keeps_context = keeps_context
        self._inflater: zlib._Decompress | None = None
        self._in_compressed = False

    def feed(self, data: bytes) -> list[Frame]:
        """Take *data* and return the frames that it completed."""
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        short = buffer[1] & 0x7F
        extra = {126: 2, 127: 8}.get(short, 0)
        mask_at = 2 + extra
        begin = mask_at + (4 if buffer[1] & 0x80 else 0)
        if len(buffer) < begin:
            return None
        size = int.from_bytes(buffer[2:mask_at], "big") if extra else short
        if len(buffer) < begin + size:
            return None
        payload = bytes(buffer[begin : begin + size])
        if buffer[1] & 0x80 and size:
            payload = _unmasked(payload, bytes(buffer[mask_at:begin]))
        first = buffer[0]
        del buffer[: begin + size]
        return self._frame(first, payload)

    def _frame(self, first: int, payload: bytes) -> Frame:
        opcode, is_final = first & 0x0F, bool(first & 0x80)
        kind = _KINDS.get(opcode, str(opcode))
        if opcode in {1, 2}:
            self._in_compressed = bool(first & 0x40)
        is_compressed = opcode < 8 and self._in_compressed
        data = self._inflate(payload, is_final) if is_compressed else payload
        return Frame(kind, data, len(payload), is_final, is_compressed)

    def _inflate(self, payload: bytes, is_final: bool) -> bytes:
        if self._inflater is None:
            self._inflater = zlib.decompressobj(wbits=-15)
        try:
            data = self._inflater.decompress(payload + (_TAIL if is_final else b""), _INFLATED_LIMIT)
            while self._inflater.unconsumed_tail:  # the context must be kept up, the text need not be
                self._inflater.decompress(self._inflater.unconsumed_tail, _INFLATED_LIMIT)
        except zlib.error:
            return payload
        if is_final and not self._keeps_context:
            self._inflater = None
        return data


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
