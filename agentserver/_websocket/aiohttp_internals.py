"""What WebSockets use of aiohttp that has no public name, in one place: why, and what breaks when it changes.

Nothing else in this package names a private attribute of aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp._websocket.helpers import websocket_mask
from aiohttp.abc import AbstractStreamWriter

__all__ = ["UpgradeResponse", "release", "take_over", "unmask"]

unmask: Callable[[bytes, bytearray], None] = websocket_mask
"""Unmask a payload where it is, with the 4 bytes of its mask.

aiohttp has it in C; in Python it would be most of what a message costs. Gone, the import fails.
"""


class UpgradeResponse(web.WebSocketResponse):
    """aiohttp's response to an upgrade without what it does to the connection afterwards.

    Handlers are typed by `web.WebSocketResponse`, and its convenience (``receive_str``, ``send_json``) is
    built on methods that a subclass replaces. Its own constructor and `prepare` are passed by: they make a
    reader, a writer and a heartbeat of which nothing is used. What breaks: an inherited method that touches
    what was not set raises an AttributeError, which the tests of every method would show.

    Args:
        headers: Of the 101.
        protocol: The subprotocol, read back as ``ws_protocol``.
    """

    def __init__(self, headers: Mapping[str, str], protocol: str | None) -> None:
        super(web.WebSocketResponse, self).__init__(status=101, headers=headers)
        self._ws_protocol = protocol

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send the 101, once.

        Raises:
            ConnectionResetError: If the client has gone.
        """
        if self._payload_writer is not None:  # aiohttp asks again when the handler is done
            return self._payload_writer
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client left before it was answered")
        self.force_close()
        writer = await super(web.WebSocketResponse, self).prepare(request)
        assert writer is not None
        return writer

    @property
    def prepared(self) -> bool:
        """Whether the 101 was sent."""
        return self._payload_writer is not None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A fact about the transport, as asyncio names them."""
        return default if self._req is None else self._req.get_extra_info(name, default)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the connection is over when aiohttp asks for this."""
        self._eof_sent = True

    def _cancel(self, exc: BaseException) -> None:
        """Nothing: aiohttp's connection calls it with its own end, of which ours knows."""


class _EarlyBytes:
    """What aiohttp takes for the parser of an upgraded connection: hands over what came too early."""

    def __init__(self, receive: Callable[[bytes], object]) -> None:
        self._receive = receive

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._receive(data)
        return False, b""

    def feed_eof(self) -> None:
        return


def take_over(request: web.BaseRequest, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
    """Give *protocol* what *transport* receives from now on, and what it has received behind the request.

    aiohttp has no way to leave a connection to somebody else; `set_parser` is how it gives what came behind
    the headers to its own WebSockets. What breaks: frames that are sent in one go with the request are lost.
    """
    connection = request.protocol
    connection.keep_alive(False)
    transport.set_protocol(protocol)
    connection.set_parser(_EarlyBytes(protocol.data_received))  # type: ignore[arg-type]  # all that is used of one


def release(request: web.BaseRequest) -> None:
    """Tell aiohttp's connection of the end that it did not see, as the transport has another protocol.

    It cancels the request's task and leaves the server's list. What breaks: a connection stays in that list.
    """
    request.protocol.connection_lost(None)
