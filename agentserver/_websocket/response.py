"""The WebSocket that a handler is given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import WSMessage, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter
from typing_extensions import Self

from agentserver._websocket.connection import Link
from agentserver._websocket.frames import BINARY, PING, PONG, TEXT
from agentserver._websocket.handshake import Handshake
from agentserver._websocket.sending import is_slow, until_read, write_texts
from agentserver.invocations.options import InvocationsServerOptions

_ENDS: Final = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED})
_READS_AFTER_THE_END: Final = 5


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
        return 0 if self._deflate is None else self._deflate.server_bits

    def exception(self) -> BaseException | None:
        """What the client did wrong, if it broke the protocol."""
        return self.link.error

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A fact about the transport, as asyncio names them."""
        return default if self._req is None else self._req.get_extra_info(name, default)

    async def ping(self, message: bytes = b"") -> None:
        """Send a Ping of at most 125 bytes."""
        await self.link.send(PING, message)

    async def pong(self, message: bytes = b"") -> None:
        """Send a Pong that nobody asked for."""
        await self.link.send(PONG, message)

    async def send_frame(self, message: bytes, opcode: WSMsgType, compress: int | None = None) -> None:
        """Send bytes as a frame of a kind."""
        await self.link.send(opcode.value, message, compress=compress != 0)

    async def send_str(self, data: str, compress: int | None = None) -> None:
        """Send a text message."""
        await self.link.send(TEXT, data.encode(), compress=compress != 0)

    async def send_bytes(self, data: bytes, compress: int | None = None) -> None:
        """Send a binary message."""
        await self.link.send(BINARY, data, compress=compress != 0)

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

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """Close, and wait for the client's answer; False if the connection was closing already.

        Args:
            code: 1000 or 3000 to 4999, or another that RFC 6455 lets a peer send.
            message: The reason, at most 123 bytes of UTF-8.
            drain: Whether to wait.

        Raises:
            ValueError: If code or reason may not be sent.
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
