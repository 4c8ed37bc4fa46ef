"""Sends the frames of one connection, so that no stream keeps the others out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["ConnectionEndedError", "FrameWriter"]

# What a connection sends in one round of the event loop. With fifty that send all they can, a round takes
# some 25 ms; with much less than this, going round would cost more than the sending.
_TURN: Final = 16 * 1024


class ConnectionEndedError(Exception):
    """The connection is gone; there is nobody to send to."""


class FrameWriter:
    """Sends one frame after the other, on the tasks of those who made them.

    A stream that is never made to wait, by its model or by the reader, would keep out all the others, those
    of other connections too. So in each round of the event loop a connection sends so much and no more, and
    while its reader is slow, nothing; who comes later stands in line, and is let on by a frame at least.

    Args:
        send: Sends one frame whole and waits for a slow reader; raises `ConnectionError` when the connection
            is gone.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._line: deque[asyncio.Future[None]] = deque()
        self._sent = 0
        self._sending = 0
        self._is_round_coming = False

    async def put(self, frame: bytes) -> None:
        """Send *frame*.

        Raises:
            ConnectionEndedError: If the connection is gone.
        """
        if self._sending or self._sent >= _TURN:
            await self._stand_in_line()
        if not self._is_round_coming:
            self._await_round()
        self._sent += len(frame)
        self._sending += 1
        try:
            await self._send(frame)
        except ConnectionError:
            raise ConnectionEndedError from None
        finally:
            self._sending -= 1
            if self._sent >= _TURN and not self._is_round_coming:
                self._await_round()

    async def _stand_in_line(self) -> None:
        turn = self._loop.create_future()
        self._line.append(turn)
        await turn

    def _await_round(self) -> None:
        self._is_round_coming = True
        self._loop.call_soon(self._begin_round)

    def _begin_round(self) -> None:
        self._is_round_coming = False
        if self._sending:
            # Whoever waits for the reader has had its turn, and begins the next round when it need not wait.
            self._sent = _TURN
            return
        self._sent = 0
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                self._await_round()
                return
