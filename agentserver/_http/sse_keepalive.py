"""Keeps an event stream alive: a comment line whenever nothing was sent for a while (contract, section 9)."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Final

from aiohttp import web

from agentserver._http.writer import HostWriter

if TYPE_CHECKING:
    from aiohttp.http_writer import Buffer

_EVENT_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
COMMENT: Final = b": keep-alive\n\n"


class SseKeepAlive:
    """Watches one ``text/event-stream`` response, whoever writes it, until ``stop()``.

    A comment goes out only between two events, so that it can never split one (WHATWG HTML, section 9.2.6).

    Args:
        request: The request whose writer is watched.
        response: The response, about to be sent.
        interval: Seconds of silence after which a comment is sent.
        context: What its timer runs in, instead of the request's.
    """

    __slots__ = (
        "_chunk",
        "_context",
        "_handle",
        "_interval",
        "_last",
        "_loop",
        "_request",
        "_task",
        "_writer",
    )

    def __init__(
        self, request: web.BaseRequest, response: web.StreamResponse, interval: float, context: Context
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._writer = request.writer
        self._interval = interval
        self._context = context
        self._last = self._loop.time()
        self._chunk: Buffer = b"\n\n"
        self._task: asyncio.Task[None] | None = None
        self._handle: asyncio.TimerHandle | None = None
        if response.compression:
            return
        if not isinstance(self._writer, HostWriter):
            # aiohttp calls this with every chunk of a body; there is no public way to set it later.
            setattr(self._writer, "_on_chunk_sent", self._sent)  # noqa: B010
        self._handle = self._loop.call_later(interval, self._tick, context=context)

    def stop(self) -> None:
        """Send no more comments."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    async def _sent(self, chunk: Buffer) -> None:
        self._last = self._loop.time()
        self._chunk = chunk

    def _tick(self) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        writer = self._writer
        if isinstance(writer, HostWriter):
            self._last = max(self._last, writer.written_at)
            self._chunk = writer.last_chunk or self._chunk
        silence = self._loop.time() - self._last
        wait = self._interval - silence
        if wait <= 0:
            wait = self._interval
            # A reader that does not keep up is not idle: more bytes would only fill memory.
            between_events = bytes(self._chunk)[-4:].endswith(_EVENT_ENDS)
            if between_events and not self._request.protocol.writing_paused:
                self._task = self._loop.create_task(self._send())
        self._handle = self._loop.call_later(wait, self._tick, context=self._context)

    async def _send(self) -> None:
        try:
            await self._writer.write(COMMENT)
        except ConnectionError:
            self.stop()
