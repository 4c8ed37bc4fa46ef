"""One open WebSocket. Nothing on it waits for ever for its peer.

aiohttp writes a frame at once, and then waits until the peer has read enough of what was written; everybody
who waits so waits for one future. That wait has no end when the peer does not read, and whoever is
cancelled in it cancels it for all the others. So no caller is let into it. A small frame that finds room in
the buffer is written straight away, for then there is no wait. Any other is written by a task of its own,
in the order of the calls, with a time-out after which the connection is cut; its caller waits for the task,
and may give up without harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import aiohttp

from agentserver.client.retry import Timeouts
from agentserver.wire import CloseCode

__all__ = ["OpenWebSocket"]

_ROOM = 8192
"""Characters of a message, and bytes that are not sent yet, up to which no transport asks to wait: even with
four bytes to a character, that is half of what asyncio and uvloop take before they do."""

_LOOK_SECONDS = 0.05
"""Between two looks at a buffer whose waiter was cancelled."""


class OpenWebSocket:
    """aiohttp's side of a WebSocket, whose every write is bounded.

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
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[None]] = set()
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
        """Send a message, after those before it. One whose caller gives up is sent all the same.

        Raises:
            ConnectionError: If the connection is closed, breaks, or the peer does not read.
            ValueError: If the text has characters that UTF-8 has not.
        """
        if isinstance(message, str):
            await self._write(lambda: self._socket.send_str(message), len(message))
        else:
            await self._write(lambda: self._socket.send_bytes(message), len(message))

    async def ping(self, payload: bytes) -> None:
        """Send a Ping frame, before messages that wait; errors as for :meth:`send`."""
        await self._write(lambda: self._socket.ping(payload), len(payload), is_control=True)

    async def pong(self, payload: bytes) -> None:
        """Send a Pong frame, before messages that wait; errors as for :meth:`send`."""
        await self._write(lambda: self._socket.pong(payload), len(payload), is_control=True)

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

    async def _write(
        self, write: Callable[[], Awaitable[None]], size: int, *, is_control: bool = False
    ) -> None:
        if not self._writes and self._has_room(size):
            try:
                await write()  # which does not wait
            except aiohttp.ClientError as error:
                raise ConnectionResetError("the connection is closed") from error
            return
        task = asyncio.create_task(self._written(write) if is_control else self._in_turn(write))
        self._writes.add(task)
        task.add_done_callback(self._forget)
        await asyncio.shield(task)

    def _has_room(self, size: int) -> bool:
        return (
            size <= _ROOM and self._transport is not None and self._transport.get_write_buffer_size() <= _ROOM
        )

    async def _in_turn(self, write: Callable[[], Awaitable[None]]) -> None:
        async with self._turn:
            await self._written(write)

    async def _written(self, write: Callable[[], Awaitable[None]]) -> None:
        seconds = self._timeouts.idle
        timer = asyncio.get_running_loop().call_later(seconds, self.abort)
        try:
            writing = asyncio.ensure_future(write())
            await asyncio.wait({writing})
            # aiohttp may cancel the Ping of its heartbeat when data comes, and with it all who wait.
            while writing.cancelled() and not self.closed and not self._has_room(0):  # noqa: ASYNC110 - it is lost
                await asyncio.sleep(_LOOK_SECONDS)
            if not writing.cancelled():
                writing.result()
        except aiohttp.ClientError as error:
            raise ConnectionResetError("the connection is closed") from error
        finally:
            timer.cancel()
        if self._cut:  # aiohttp takes that for the end of the waiting
            raise ConnectionResetError(f"the peer did not read for {seconds:g} s")

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have given up
