"""Sends the frames of one connection: each whole, in the order they were put, few ahead of the reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["ConnectionEndedError", "FrameWriter"]

# Small enough that a stream which waits for nothing else lets the others on about every millisecond.
_HIGH_WATER: Final = 16 * 1024


class ConnectionEndedError(Exception):
    """The connection is gone; there is nobody to send to."""


class FrameWriter:
    """The one that sends, so that an invocation can be cancelled while its frame waits for a slow reader.

    A task that is cancelled inside aiohttp's own wait for a slow reader takes along every other task that
    waits there. Invocations therefore only ever wait here, in a line: whoever is first puts at least one
    frame, and stands at its end again when the room is used up. So no stream can keep the others out.

    Args:
        send: Sends one frame; raises :class:`ConnectionError` when the connection is gone.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._filled = asyncio.Event()
        self._line: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def put(self, frame: bytes) -> None:
        """Have *frame* sent; waits while too much is ahead of it.

        Raises:
            ConnectionEndedError: If the connection is gone.
        """
        if self._size >= _HIGH_WATER and not self._closed:
            await self._stand_in_line()
        if self._closed:
            raise ConnectionEndedError
        self._size += len(frame)
        self._frames.append(frame)
        if len(self._frames) == 1:
            self._filled.set()

    async def run(self) -> None:
        """Send what is put until :meth:`close` is called or the connection is gone. Must not be cancelled."""
        try:
            while not self._closed:
                await self._filled.wait()
                await self._send_all()
                self._filled.clear()
                self._let_on()
        except ConnectionError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Send nothing more. A frame that is just being sent ends with the connection."""
        self._closed = True
        self._frames.clear()
        self._filled.set()
        while self._line:
            self._let_on()

    async def _send_all(self) -> None:
        frames, send = self._frames, self._send
        while frames:
            await send(frames.popleft())
        self._size = 0

    async def _stand_in_line(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._let_on()
            raise

    def _let_on(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
