"""One open WebSocket. Nothing on it waits for ever for its peer."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import cast

import aiohttp

from agentserver.client.retry import Timeouts
from agentserver.wire import CloseCode

__all__ = ["OpenWebSocket"]


class OpenWebSocket:
    """aiohttp's side of a WebSocket, whose every write is bounded.

    aiohttp waits without end for a peer that does not read: in a send, in a Ping, and in the closing
    handshake. Here such a connection is cut: by then nobody can tell what of it arrived.

    Args:
        socket: The WebSocket, open.
        response: The 101 that opened it.
        timeouts: ``idle`` bounds a write, ``close`` the closing handshake.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse[bool],
        response: aiohttp.ClientResponse,
        timeouts: Timeouts,
    ) -> None:
        self._socket = socket
        self._response = response
        self._transport = None if response.connection is None else response.connection.transport
        self._timeouts = timeouts
        self._cut = False
        self.headers: Mapping[str, str] = response.headers

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._cut or self._socket.closed

    @property
    def close_code(self) -> int | None:
        """The code that was exchanged, 1006 when the connection broke, None while it is open."""
        code = CloseCode.ABNORMAL if self._cut else self._socket.close_code
        return CloseCode.NO_STATUS if code == 0 else code  # aiohttp's word for a close without a code

    async def send(self, message: str | bytes) -> None:
        """Send a message.

        Raises:
            ConnectionError: If the connection is closed, breaks, or the peer does not read.
        """
        with self._cut_after(self._timeouts.idle):
            if isinstance(message, str):
                await self._socket.send_str(message)
            else:
                await self._socket.send_bytes(message)

    async def ping(self, payload: bytes) -> None:
        """Send a Ping frame; errors as for :meth:`send`."""
        with self._cut_after(self._timeouts.idle):
            await self._socket.ping(payload)

    async def pong(self, payload: bytes) -> None:
        """Send a Pong frame; errors as for :meth:`send`."""
        with self._cut_after(self._timeouts.idle):
            await self._socket.pong(payload)

    async def receive(self) -> aiohttp.WSMessage:
        """The next message or frame; of an end, whatever aiohttp makes of it."""
        return cast("aiohttp.WSMessage", await self._socket.receive())

    async def close(self, code: int = CloseCode.NORMAL, reason: bytes = b"") -> None:
        """Close and wait for the peer's part; a peer that does not play it is cut off."""
        timer = asyncio.get_running_loop().call_later(self._timeouts.close, self.abort)
        try:
            await self._socket.close(code=code, message=reason)
        finally:
            timer.cancel()
            if self._socket.close_code in {None, CloseCode.ABNORMAL}:
                self.abort()

    def abort(self) -> None:
        """Cut the connection, what was not sent yet included."""
        self._cut = True
        if self._transport is not None:
            self._transport.abort()
        self._response.close()  # gives its place in the pool back, even when nobody reads on

    @contextmanager
    def _cut_after(self, seconds: float) -> Generator[None, None, None]:
        timer = asyncio.get_running_loop().call_later(seconds, self.abort)
        try:
            yield
        except aiohttp.ClientError as error:
            raise ConnectionResetError("the connection is closed") from error
        finally:
            timer.cancel()
        if self._cut:  # aiohttp takes that for the end of the waiting
            raise ConnectionResetError(f"the peer did not read for {seconds:g} s")
