"""Sends the frames of one connection, so that no stream keeps the others out."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

__all__ = ["ConnectionEndedError", "FrameWriter", "Sink"]

# Bytes that a connection sends in one round of the event loop. With fifty connections that send all they can,
# a round takes some 20 ms; with much less than this, the system calls would cost more than the frames.
_ROUND: Final = 16 * 1024


class ConnectionEndedError(Exception):
    """The connection is gone; there is nobody to send to."""


class Sink(Protocol):
    """Where the frames go; its methods raise `ConnectionError` when the connection is gone."""

    def write_texts(self, texts: Sequence[bytes]) -> bool:
        """Send text messages in one go; whether the reader keeps up."""
        ...

    async def drain(self) -> None:
        """Wait while the reader does not keep up."""
        ...


class FrameWriter:
    """Gathers the frames of one round of the event loop and sends them in one go.

    A stream that is never made to wait, by its model or by the reader, would keep out all the others, those
    of other connections too. So in a round a connection sends so much and no more, and while its reader is
    slow, nothing. Who comes then stands in line, and is let on by a frame at least, one in each round.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        # A round is begun by whichever action comes first, and is of none of them.
        self._context = contextvars.copy_context()
        self._frames: list[bytes] = []
        self._room = _ROUND
        self._line: deque[asyncio.Future[None]] = deque()
        self._round: asyncio.Handle | asyncio.Task[None] | None = None
        self._closed = False

    async def put(self, frame: bytes) -> None:
        """Have *frame* sent before this round of the event loop ends, or wait for another.

        Raises:
            ConnectionEndedError: If the connection is gone.
        """
        if self._room <= 0 and not self._closed:
            turn = self._loop.create_future()
            self._line.append(turn)
            await turn
        if self._closed:
            raise ConnectionEndedError
        self._room -= len(frame)
        self._frames.append(frame)
        if self._round is None:
            self._round = self._loop.call_soon(self._end_round, context=self._context)

    def close(self) -> None:
        """Send nothing more; whoever waits is told."""
        self._closed = True
        self._frames.clear()
        if self._round is not None:
            self._round.cancel()
        for turn in self._line:
            if not turn.done():
                turn.set_result(None)

    def _end_round(self) -> None:
        frames, self._frames = self._frames, []
        try:
            is_read = not frames or self._sink.write_texts(frames)
        except ConnectionError:
            self.close()
            return
        if is_read:
            self._begin_round()
        else:
            self._room = 0
            self._round = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            await self._sink.drain()
        except ConnectionError:
            self.close()
        else:
            self._begin_round()

    def _begin_round(self) -> None:
        self._room = _ROUND
        self._round = None
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                self._round = self._loop.call_soon(self._end_round, context=self._context)
                return
