"""Compression of WebSocket messages: negotiation, inflating, deflating (RFC 7692). Off unless asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agentserver._websocket.closing import ProtocolError
from agentserver.wire import CloseCode

_NAME: Final = "permessage-deflate"
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = ("server_max_window_bits", "client_max_window_bits")
_TAIL: Final = b"\x00\x00\xff\xff"
# Level 1 costs a fifth of zlib's default and saves nearly as much on what agents send.
_LEVEL: Final = 1
# A client may end the deflate stream within a message; each new stream costs, so few are enough.
_MAX_STREAMS: Final = 8


@dataclass(frozen=True)
class Deflate:
    """What client and server agreed on.

    Args:
        server_bits: Size of the server's window as a power of two, 9 to 15; ``None`` if the client set no
            limit, which is 15. A limit must be confirmed, also one of 15 (RFC 7692, section 7.1.2.1).
        server_takeover: Whether the server's window outlives a message.
        client_takeover: Whether the client's does.
    """

    server_bits: int | None = None
    server_takeover: bool = True
    client_takeover: bool = True

    @property
    def window(self) -> int:
        """Size of the server's window as a power of two."""
        return 15 if self.server_bits is None else self.server_bits

    @property
    def answer(self) -> str:
        """The value of ``Sec-WebSocket-Extensions`` in the 101."""
        parts = [_NAME]
        if not self.server_takeover:
            parts.append(_FLAGS[0])
        if not self.client_takeover:
            parts.append(_FLAGS[1])
        if self.server_bits is not None:
            parts.append(f"{_BITS[0]}={self.server_bits}")
        return "; ".join(parts)


def negotiate(offers: Iterable[str]) -> Deflate | None:
    """The first of a client's extension *offers* that can be met, else ``None``."""
    for offer in offers:
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() == _NAME:
            agreed = _meet(parameters)
            if agreed is not None:
                return agreed
    return None


def _meet(parameters: list[str]) -> Deflate | None:
    asked: dict[str, str] = {}
    for parameter in parameters:
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name in asked or not _is_valid(name, value.strip('"')):
            return None
        asked[name] = value.strip('"')
    bits = int(asked[_BITS[0]]) if _BITS[0] in asked else None
    if bits == 8:  # zlib has no raw window of 8 bits
        return None
    return Deflate(bits, _FLAGS[0] not in asked, _FLAGS[1] not in asked)


def _is_valid(name: str, value: str) -> bool:
    if name in _FLAGS:
        return not value
    if name == _BITS[1] and not value:
        return True
    return name in _BITS and value in {"8", "9", "10", "11", "12", "13", "14", "15"}


class Inflater:
    """Decompresses a client's messages, piece by piece."""

    __slots__ = ("_stream", "_streams", "_takeover")

    def __init__(self, *, takeover: bool) -> None:
        self._takeover = takeover
        self._stream = zlib.decompressobj(-15)
        self._streams = 0

    def piece(self, data: bytes | bytearray | memoryview, limit: int) -> bytearray:
        """Decompress *data* to at most *limit* bytes, which is at least 1.

        Raises:
            ProtocolError: If it is no compressed data.
        """
        inflated = bytearray()
        try:
            while True:
                inflated += self._stream.decompress(data, limit - len(inflated))
                if not self._stream.eof or len(inflated) >= limit:
                    return inflated
                data = self._stream.unused_data
                self._restart()
        except zlib.error:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "the compressed data is damaged") from None

    def end(self, limit: int) -> bytearray:
        """What is left of the message."""
        rest = self.piece(_TAIL, limit)
        self._streams = 0
        if not self._takeover:
            self._stream = zlib.decompressobj(-15)
        return rest

    def _restart(self) -> None:
        self._streams += 1
        if self._streams > _MAX_STREAMS:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "the compressed data has too many streams")
        self._stream = zlib.decompressobj(-15)


class Deflater:
    """Compresses the server's messages."""

    __slots__ = ("_agreed", "_stream")

    def __init__(self, agreed: Deflate) -> None:
        self._agreed = agreed
        self._stream = self._new()

    def message(self, data: bytes) -> bytes:
        """Compress a whole message."""
        deflated = self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        if not self._agreed.server_takeover:
            self._stream = self._new()
        return deflated[: -len(_TAIL)]

    def _new(self) -> zlib._Compress:
        return zlib.compressobj(_LEVEL, zlib.DEFLATED, -self._agreed.window)
