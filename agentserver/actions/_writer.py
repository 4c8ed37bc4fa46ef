"""Sends the frames of one connection, so that no stream keeps the others out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["ConnectionEndedError", "FrameWriter"]

# Small enough that a stream which waits for nothing else lets the others on about every millisecond.
_TURN: Final = 16 * 1024


class ConnectionEndedError(Exception):
    """The connection is gone; there is nobody to send to."""


class FrameWriter:
    """Sends one frame after the other.

    While the reader is slow, one invocation waits for it and the others stand in line behind, so that each
    gets on by a frame in its turn. While it is fast, whoever has sent enough lets the others on.

    Args:
        send: Sends one frame whole and waits for a slow reader; raises `ConnectionError` when the connection
            is gone.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._line = asyncio.Lock()
        self._sent = 0

    async def put(self, frame: bytes) -> None:
        """Send *frame*.

        Raises:
            ConnectionEndedError: If the connection is gone.
        """
        async with self._line:
            try:
                await self._send(frame)
            except ConnectionError:
                raise ConnectionEndedError from None
        self._sent += len(frame)
        if self._sent >= _TURN:
            self._sent = 0
            await asyncio.sleep(0)
