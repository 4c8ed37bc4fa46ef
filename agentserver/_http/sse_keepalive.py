"""Keeps an event stream alive: a comment line whenever nothing was sent for a while (contract, section 9)."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Final

from aiohttp import web

from agentserver._http.aiohttp_internals import interject, watch
from agentserver._http.writer import TAIL, HostWriter

if TYPE_CHECKING:
    from aiohttp.http_writer import Buffer

COMMENT: Final = b": keep-alive\n\n"


class SseKeepAlive:
    """Watches one ``text/event-stream`` response, whoever writes it, until its end.

    A comment goes out only between two events, so that it can never split one (WHATWG HTML, section 9.2.6),
    and in the very call that found that it may: between a call and a task of its own the handler could write
    half an event, or the end.

    Args:
        request: The request whose writer is watched.
        interval: Seconds of silence after which a comment is sent.
        context: What its timer runs in, instead of the request's.
    """

    __slots__ = ("_context", "_handle", "_interval", "_loop", "_request", "_tail", "_written_at")

    def __init__(self, request: web.BaseRequest, interval: float, context: Context) -> None:
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._interval = interval
        self._context = context
        self._written_at = self._loop.time()
        self._tail = b""
        writer = request.writer
        if isinstance(writer, HostWriter):
            writer.on_end = self.stop
        else:
            watch(writer, self._sent, self.stop)
        self._handle = self._loop.call_later(interval, self._tick, context=context)

    def stop(self) -> None:
        """Send no more comments."""
        self._handle.cancel()

    async def _sent(self, chunk: Buffer) -> None:
        self._written_at = self._loop.time()
        self._tail = self._tail[-TAIL:] + bytes(memoryview(chunk).cast("B")[-TAIL:])

    def _tick(self) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        writer = self._request.writer
        if isinstance(writer, HostWriter):
            self._written_at = max(self._written_at, writer.written_at)
            self._tail = writer.tail
        wait = self._written_at + self._interval - self._loop.time()
        if wait <= 0:
            wait = self._interval
            # A reader that does not keep up is not idle: more bytes would only fill memory.
            if _is_between_events(self._tail) and not self._request.protocol.writing_paused:
                interject(writer, COMMENT)
        self._handle = self._loop.call_later(wait, self._tick, context=self._context)


def _is_between_events(tail: bytes) -> bool:
    """Whether what ends in *tail* ends in a blank line, or has not begun; three line ends are allowed."""
    text = tail[-TAIL:].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return not text or text.endswith(b"\n\n")
