"""The WebSocket that a handler is given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

from aiohttp import WSMessage, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter
from typing_extensions import Self

from agentserver._websocket.connection import Link
from agentserver._websocket.frames import BINARY, PING, PONG, TEXT, ping_payload
from agentserver._websocket.handshake import Handshake
from agentserver._websocket.sending import is_slow, until_read, write_texts
from agentserver.invocations.options import InvocationsServerOptions

_ENDS: Final = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED})
_READS_AFTER_THE_END: Final = 5
# What send_frame() may send; the name is for those whose size is bounded.
_SENDABLE: Final = {WSMsgType.TEXT: "", WSMsgType.BINARY: "", WSMsgType.PING: "ping", WSMsgType.PONG: "pong"}


class WebSocket(web.WebSocketResponse):
    """An open connection: aiohttp's interface, with the closing and the flow control of `Link` below.

    Every send waits while the client does not keep up; a client whose messages are not read is stopped.
    Sending on a closed connection raises `ConnectionResetError`, which a handler may let go:
    it is no failure.

    Args:
        handshake: The accepted upgrade.
        options: Limits.
    """

    link: Link

    def __init__(self, handshake: Handshake, options: InvocationsServerOptions) -> None:
        # Not aiohttp's own: what it sets up per connection is not used here.
        super(web.WebSocketResponse, self).__init__(status=101, headers=handshake.headers)
        self._ws_protocol = handshake.protocol
        self._deflate = handshake.deflate
        self._options = options
        self._reads_after_end = 0

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send the 101 and take the connection over.

        Raises:
            ConnectionResetError: If the client has gone.
        """
        if self._payload_writer is not None:
            return self._payload_writer
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client left before it was answered")
        self.force_close()
        writer = await super(web.WebSocketResponse, self).prepare(request)
        assert writer is not None
        self.link = Link(
            transport,
            max_size=self._options.websocket_max_message_size,
            close_timeout=self._options.websocket_close_timeout,
            deflate=self._deflate,
        )
        return writer

    @property
    def prepared(self) -> bool:
        """Whether the 101 was sent."""
        return self._payload_writer is not None

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.link.over

    @property
    def close_code(self) -> int | None:
        """How the connection ended or is going to; ``None`` while it is open."""
        return self.link.close_code

    @property
    def compress(self) -> int | bool:
        """The size of the window that messages are compressed with, as a power of two; 0 if they are not."""
        return 0 if self._deflate is None else self._deflate.window

    def exception(self) -> BaseException | None:
        """What the client did wrong, if it broke the protocol."""
        return self.link.error

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A fact about the transport, as asyncio names them."""
        return default if self._req is None else self._req.get_extra_info(name, default)

    async def ping(self, message: bytes | str = b"") -> None:
        """Send a Ping of at most 125 bytes; text goes out as UTF-8.

        Raises:
            TypeError, ValueError: If *message* cannot be sent in one.
        """
        await self.link.send(PING, ping_payload("ping", message))

    async def pong(self, message: bytes | str = b"") -> None:
        """Send a Pong of at most 125 bytes that nobody asked for; text goes out as UTF-8.

        Raises:
            TypeError, ValueError: If *message* cannot be sent in one.
        """
        await self.link.send(PONG, ping_payload("pong", message))

    async def send_frame(self, message: bytes, opcode: WSMsgType, compress: int | None = None) -> None:
        """Send bytes as a whole message of a kind: TEXT, BINARY, PING or PONG.

        Raises:
            TypeError, ValueError: If *opcode* is another or *message* cannot be sent as it.
        """
        name = _SENDABLE.get(opcode)
        if name is None:
            raise ValueError("send_frame() sends TEXT, BINARY, PING or PONG: use close() to close")
        payload = ping_payload(name, message) if name else _copied(message, "send_frame")
        await self.link.send(opcode.value, payload, compress=compress != 0)

    async def send_str(self, data: str, compress: int | None = None) -> None:
        """Send a text message.

        Raises:
            TypeError, ValueError: If *data* is no str, or one that UTF-8 cannot carry.
        """
        await self.link.send(TEXT, _encoded(data), compress=compress != 0)

    async def send_bytes(self, data: bytes | bytearray | memoryview, compress: int | None = None) -> None:
        """Send a binary message.

        Raises:
            TypeError: If *data* is no bytes, bytearray or memoryview.
        """
        payload = data if type(data) is bytes else _copied(data, "send_bytes")
        await self.link.send(BINARY, payload, compress=compress != 0)

    def write_texts(self, texts: Sequence[bytes]) -> bool:
        """Send text messages, UTF-8 each, in one go and without waiting; whether the client keeps up.

        Raises:
            ConnectionResetError: If the connection is closed.
        """
        write_texts(self.link, texts)
        return not is_slow(self.link)

    async def drain(self) -> None:
        """Wait while the client does not keep up.

        Raises:
            ConnectionResetError: If the connection is closed meanwhile.
        """
        await until_read(self.link)

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """The next message; of type ``CLOSE``, ``CLOSING`` or ``CLOSED`` when there are no more.

        Args:
            timeout: Seconds to wait, then `asyncio.TimeoutError`.
        """
        message = await self.link.receive(timeout)
        if message.type is WSMsgType.CLOSED:
            self._reads_after_end += 1
            if self._reads_after_end > _READS_AFTER_THE_END:
                raise RuntimeError("the WebSocket is closed: stop reading when receive() gives CLOSED")
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WSMessage:
        message = await self.link.receive()
        if message.type in _ENDS:
            raise StopAsyncIteration
        return message

    async def close(self, *, code: int = 1000, message: bytes | str = b"", drain: bool = True) -> bool:
        """Close, and wait for the client's answer; False if the connection was closing already.

        Args:
            code: 1000 or 3000 to 4999, or another that RFC 6455 lets a peer send.
            message: The reason, text or UTF-8, at most 123 bytes.
            drain: Whether to wait.

        Raises:
            TypeError, ValueError: If code or reason may not be sent.
        """
        begun = self.link.close(code, message)
        if begun and drain:
            await asyncio.shield(self.link.lost)
        return begun

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the connection is over when aiohttp asks for this."""
        self._eof_sent = True

    def _cancel(self, exc: BaseException) -> None:
        return


def _copied(data: object, method: str) -> bytes:
    """*data* as it is now: what waits for the client must not change with the handler's buffer."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"{method}() sends bytes, bytearray or memoryview, not {type(data).__name__}")
    return bytes(cast("bytes | bytearray", data))


def _encoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"send_str() sends str, not {type(text).__name__}")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("text with lone surrogates cannot be sent: it is no UTF-8") from None
