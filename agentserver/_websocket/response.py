"""The WebSocket that a handler is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from aiohttp import WSMessage, WSMsgType, web
from typing_extensions import Self

from agentserver._telemetry.observer import Traffic
from agentserver._websocket.aiohttp_internals import UpgradeResponse, take_over
from agentserver._websocket.connection import WebSocketConnection
from agentserver._websocket.frames import BINARY, PING, PONG, TEXT, ping_payload
from agentserver._websocket.handshake import Handshake
from agentserver._websocket.large_messages import UNWATCHED, Watched

_ENDS: Final = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED})
_READS_AFTER_THE_END: Final = 5
# What send_frame() may send; the name is for those whose size is bounded.
_SENDABLE: Final = {WSMsgType.TEXT: "", WSMsgType.BINARY: "", WSMsgType.PING: "ping", WSMsgType.PONG: "pong"}


class WebSocket(UpgradeResponse):
    """An open connection: aiohttp's interface, on a `WebSocketConnection`.

    Every send waits while the client does not keep up; a client whose messages are not read is stopped.
    Sending on a closed connection raises `ConnectionResetError`, which a handler may let go:
    it is no failure.

    Args:
        handshake: The accepted upgrade.
    """

    connection: WebSocketConnection

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake.headers, handshake.protocol)
        self._deflate = handshake.deflate
        self._reads_after_end = 0

    async def open(
        self,
        request: web.BaseRequest,
        *,
        max_size: int,
        close_timeout: float,
        ping_interval: float = 0.0,
        traffic: Traffic | None = None,
        watched: Watched = UNWATCHED,
        on_end: Callable[[bool], object] | None = None,
    ) -> WebSocketConnection:
        """Send the 101 and take the connection over; what comes next is `WebSocketConnection`'s.

        Args:
            request: The request for the upgrade.
            max_size: Bytes a message may have.
            close_timeout: Seconds for the client to answer a close.
            ping_interval: Seconds between Pings; 0 is none.
            traffic: Where data messages are counted.
            watched: Is told when something has come from the client.
            on_end: Called once when the client has ended the connection.

        Raises:
            ConnectionResetError: If the client has gone before the 101; after that, the connection is lost.
        """
        transport = request.transport
        await self.prepare(request)
        assert transport is not None
        connection = self.connection = WebSocketConnection(
            transport,
            max_size=max_size,
            close_timeout=close_timeout,
            deflate=self._deflate,
            ping_interval=ping_interval,
            traffic=traffic,
            watched=watched,
            on_end=on_end,
        )
        if transport.is_closing():
            connection.connection_lost(None)
        else:
            connection.accepted()
            take_over(request, transport, connection)
        return connection

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self.connection.close_sent

    @property
    def close_code(self) -> int | None:
        """How the connection ended or is going to; ``None`` while it is open."""
        return self.connection.close_code

    @property
    def compress(self) -> int | bool:
        """The size of the window that messages are compressed with, as a power of two; 0 if they are not."""
        return 0 if self._deflate is None else self._deflate.window

    def exception(self) -> BaseException | None:
        """What the client did wrong, if it broke the protocol."""
        return self.connection.error

    async def ping(self, message: bytes | str = b"") -> None:
        """Send a Ping of at most 125 bytes; text goes out as UTF-8.

        Raises:
            TypeError, ValueError: If *message* cannot be sent in one.
        """
        await self.connection.send(PING, ping_payload("ping", message))

    async def pong(self, message: bytes | str = b"") -> None:
        """Send a Pong of at most 125 bytes that nobody asked for; text goes out as UTF-8.

        Raises:
            TypeError, ValueError: If *message* cannot be sent in one.
        """
        await self.connection.send(PONG, ping_payload("pong", message))

    async def send_frame(self, message: bytes, opcode: WSMsgType, compress: int | None = None) -> None:
        """Send bytes as a whole message of a kind: TEXT, BINARY, PING or PONG.

        Raises:
            TypeError, ValueError: If *opcode* is another or *message* cannot be sent as it.
        """
        name = _SENDABLE.get(opcode)
        if name is None:
            raise ValueError("send_frame() sends TEXT, BINARY, PING or PONG: use close() to close")
        payload = ping_payload(name, message) if name else _copied(message, "send_frame")
        await self.connection.send(opcode.value, payload, compress=compress != 0)

    async def send_str(self, data: str, compress: int | None = None) -> None:
        """Send a text message.

        Raises:
            TypeError, ValueError: If *data* is no str, or one that UTF-8 cannot carry.
        """
        try:
            payload = data.encode()
        except (AttributeError, UnicodeEncodeError):
            raise _no_text(data) from None
        await self.connection.send(TEXT, payload, compress=compress != 0)

    async def send_bytes(self, data: bytes | bytearray | memoryview, compress: int | None = None) -> None:
        """Send a binary message.

        Raises:
            TypeError: If *data* is no bytes, bytearray or memoryview.
        """
        payload = data if type(data) is bytes else _copied(data, "send_bytes")
        await self.connection.send(BINARY, payload, compress=compress != 0)

    def write_texts(self, texts: Sequence[bytes]) -> bool:
        """Send text messages, UTF-8 each, in one go and without waiting; whether the client keeps up.

        Raises:
            ConnectionResetError: If the connection is closed.
        """
        self.connection.write_texts(texts)
        return not self.connection.is_slow

    async def drain(self) -> None:
        """Wait while the client does not keep up.

        Raises:
            ConnectionResetError: If the connection is closed meanwhile.
        """
        await self.connection.drain()

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """The next message; of type ``CLOSE``, ``CLOSING`` or ``CLOSED`` when there are no more.

        Args:
            timeout: Seconds to wait, then `asyncio.TimeoutError`.
        """
        message = await self.connection.receive(timeout)
        if message.type is WSMsgType.CLOSED:
            self._reads_after_end += 1
            if self._reads_after_end > _READS_AFTER_THE_END:
                raise RuntimeError("the WebSocket is closed: stop reading when receive() gives CLOSED")
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WSMessage:
        message = await self.connection.receive()
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
        begun = self.connection.close(code, message)
        if begun and drain:
            await asyncio.shield(self.connection.lost)
        return begun


def _copied(data: object, method: str) -> bytes:
    """*data* as it is now: what waits for the client must not change with the handler's buffer."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"{method}() sends bytes, bytearray or memoryview, not {type(data).__name__}")
    return bytes(cast("bytes | bytearray", data))


def _no_text(data: object) -> TypeError | ValueError:
    if isinstance(data, str):
        return ValueError("text with lone surrogates cannot be sent: it is no UTF-8")
    return TypeError(f"send_str() sends str, not {type(data).__name__}")
