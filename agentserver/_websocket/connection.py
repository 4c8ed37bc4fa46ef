"""One WebSocket on its transport: flow control both ways, the closing handshake, keep-alive.

aiohttp's own response sees a Ping or a Close only while the handler reads, answers every Close with 1000 and
leaves a client that broke the protocol without a reason. So this takes the transport over after the 101.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import WSMessage, WSMsgType

from agentserver._telemetry.observer import Traffic
from agentserver._websocket.deflate import Deflate, Deflater, Inflater
from agentserver._websocket.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    FrameError,
    FrameReader,
    close_payload,
    header,
    read_close,
)
from agentserver._websocket.large_messages import BULK, Bulk
from agentserver._websocket.sending import until_read
from agentserver.wire import CloseCode

# What may wait for a handler that does not read, besides one message: then the client is stopped.
_UNREAD_LIMIT: Final = 1 << 16
# Charged for each message, so that a million empty ones cannot wait either.
_MESSAGE_COST: Final = 128
# From here on header and payload are written one after the other instead of being copied together.
_LARGE: Final = 1 << 14
# Frames over this never pass the hosting platform (contract, section 5).
_PLATFORM_LIMIT: Final = 1 << 20
_CLOSED: Final = WSMessage(WSMsgType.CLOSED, None, None)


logger = logging.getLogger("agentserver")


class Link(asyncio.Protocol):
    """The connection under a handler's WebSocket.

    Args:
        transport: The upgraded connection.
        max_size: Bytes a message may have.
        close_timeout: Seconds for the client to answer a close.
        deflate: How messages are compressed, if that was negotiated.

    Attributes:
        close_code: How the connection ended or is going to; ``None`` while it is open.
        traffic: Where data messages are counted; ``None`` while telemetry is off.
        error: What the client did wrong.
        on_end: Called once when the client has ended the connection; with True if it did not say goodbye.
        lost: Done when the transport is gone.
        heard: Set to True whenever something comes from the client.
    """

    __slots__ = (
        "_answer",
        "_close_sent",
        "_close_timeout",
        "_deaf",
        "_deflater",
        "_ended",
        "_loop",
        "_pong",
        "_queue",
        "_reader",
        "_senders",
        "_stalled",
        "_timer",
        "_transport",
        "_unread",
        "_waiter",
        "_warned",
        "close_code",
        "error",
        "heard",
        "lost",
        "on_end",
        "traffic",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        max_size: int,
        close_timeout: float,
        deflate: Deflate | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        inflater = None if deflate is None else Inflater(takeover=deflate.client_takeover)
        self._reader = FrameReader(self, max_size, inflater)
        self._deflater = None if deflate is None else Deflater(deflate)
        self._close_timeout = close_timeout
        self._queue: list[tuple[WSMessage, int]] = []  # short: an empty deque takes 700 bytes more
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self._senders: list[asyncio.Future[None]] | None = None
        self._stalled = self._deaf = self._close_sent = self._ended = self._warned = False
        self.heard = True
        self._answer: Callable[[], None] | None = None
        self._pong: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.close_code: int | None = None
        self.traffic: Traffic | None = None
        self.error: FrameError | None = None
        self.on_end: Callable[[bool], object] | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    # --- what the transport says

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self.heard = True
        if not self._deaf:
            self._read(data)
            if self._reader.left > BULK:
                Bulk(self, self._reader, self._transport)

    def pause_writing(self) -> None:
        """The client does not keep up: senders wait from now on."""
        self._senders = []

    def resume_writing(self) -> None:
        """Senders may go on."""
        senders, self._senders = self._senders, None
        for sender in senders or ():
            if not sender.done():
                sender.set_result(None)
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self.write(PONG, pong)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        if not self._deaf:  # No Close came: whatever was sent, none was exchanged (RFC 6455, section 7.1.5).
            self.close_code = CloseCode.ABNORMAL
        abrupt = not (self._close_sent or self._deaf)
        self._close_sent = self._deaf = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._pong = None
        if not self.lost.done():
            self.lost.set_result(None)
        self.resume_writing()
        self._end()
        self._tell(abrupt=abrupt)

    # --- what the reader says

    def on_message(self, message: WSMessage, size: int) -> bool:
        """Queue a message for the handler."""
        if self._close_sent:
            return True
        if size > _PLATFORM_LIMIT:
            self._warn(size)
        self._queue.append((message, size))
        self._unread += size + _MESSAGE_COST
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._unread > _UNREAD_LIMIT and len(self._queue) > 1:
            self._stalled = True
            self._transport.pause_reading()
        return not self._stalled

    def on_control(self, opcode: int, payload: bytes) -> bool:
        """Answer a control frame."""
        if opcode == CLOSE:
            self._on_close(payload)
        elif opcode == PING and not self._close_sent:
            if self._senders is None:
                self.write(PONG, payload)
            else:
                self._pong = payload  # only the latest Ping needs its answer (RFC 6455, section 5.5.3)
        return not self._deaf

    def _read(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except FrameError as error:
            self.fail(error)

    def _on_close(self, payload: bytes) -> None:
        code, reason = read_close(payload)

        def answer() -> None:
            self._write_close(payload[:2])
            self._transport.close()

        if self._close_sent:
            self._deaf = True
            self._transport.close()
        else:
            self._hear_the_last(WSMessage(WSMsgType.CLOSE, code, reason), answer)

    def fail(self, error: FrameError) -> None:
        """The client broke the protocol."""
        self.error = error

        def answer() -> None:
            self._write_close(close_payload(error.code, error.reason.encode()))
            self._half_close()

        if self._close_sent:
            self._deaf = True
            self.close_code = CloseCode.ABNORMAL
            self._half_close()
        else:
            self._hear_the_last(WSMessage(WSMsgType.CLOSE, error.code, error.reason), answer)

    def _hear_the_last(self, last: WSMessage, answer: Callable[[], None]) -> None:
        """End with *last*; what came before it is the handler's to read and to reply to first."""
        self._deaf = True
        self.close_code = last.data
        self._answer = answer
        if self._queue:
            self._timer = self._loop.call_later(self._close_timeout, self._settle)
        else:
            self._settle()
        self._end(last)
        self._tell(abrupt=False)

    def _settle(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not self._close_sent:
            if self._timer is not None:
                self._timer.cancel()
            answer()

    def _half_close(self) -> None:
        # Closing with data unread would reset the connection, and the client would never see the code.
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _end(self, last: WSMessage | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        if last is not None:
            self._queue.append((last, 0))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell(self, *, abrupt: bool) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(abrupt)

    # --- what the handler wants

    @property
    def over(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._close_sent

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """The next message; a ``CLOSE`` and then ``CLOSED`` for ever when there are no more.

        Args:
            timeout: Seconds to wait, then `asyncio.TimeoutError`.
        """
        while not self._queue:
            if self._ended:
                return _CLOSED
            if self._waiter is not None:
                raise RuntimeError("receive() is running already: one task at a time may read a WebSocket")
            waiter = self._waiter = self._loop.create_future()
            timer = None if timeout is None else self._loop.call_later(timeout, _expire, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        message, size = self._queue.pop(0)
        self._unread -= size + _MESSAGE_COST
        if self._stalled and self._unread <= _UNREAD_LIMIT // 2:
            self._resume()
        elif self._deaf and not self._queue:
            self._settle()
        if self.traffic is not None and message.type <= BINARY:
            self.traffic.received(size)
        return message

    async def send(self, opcode: int, payload: bytes, *, compress: bool = True) -> None:
        """Send a frame, and wait while the client does not keep up.

        Args:
            opcode: What it is.
            payload: What is in it.
            compress: Whether a message may be compressed, if that was negotiated.

        Raises:
            ConnectionResetError: If the connection is closed or closes meanwhile.
        """
        self.write(opcode, payload, compress=compress)
        if self.traffic is not None and opcode <= BINARY:
            self.traffic.sent(len(payload))
        if self._senders is not None:
            await until_read(self)

    def write(self, opcode: int, payload: bytes, *, compress: bool = True) -> None:
        """Send a frame without waiting.

        Raises:
            ConnectionResetError: If the connection is closed.
        """
        if self._close_sent:
            raise _closed(self.close_code)
        compressed = False
        if self._deflater is not None and compress and opcode < CLOSE:
            payload, compressed = self._deflater.message(payload), True
        head = header(opcode, len(payload), compressed=compressed)
        if len(payload) < _LARGE:
            self._transport.write(head + payload)
        else:
            # A head alone is a packet of its own; asyncio's writelines() never paused a sender before 3.13.2.
            self._transport.write(head + payload[:_LARGE])
            self._transport.write(memoryview(payload)[_LARGE:])
            if len(payload) > _PLATFORM_LIMIT:
                self._warn(len(payload))

    def close(self, code: int, reason: bytes | str = b"") -> bool:
        """Begin to close, without waiting; False if that has begun already.

        Raises:
            TypeError, ValueError: If *code* or *reason* may not be sent.
        """
        payload = close_payload(code, reason)
        self._settle()
        if self._close_sent:
            return False
        self.close_code = code
        self._write_close(payload)
        self._queue.clear()
        self._unread = 0
        self._resume()
        self._end(WSMessage(WSMsgType.CLOSING, None, None))
        return True

    @property
    def stalled(self) -> bool:
        """Whether the client is stopped, because the handler does not read."""
        return self._stalled

    def ping(self) -> None:
        """Ask the client for a sign of life."""
        if not self._close_sent:
            self.write(PING, b"")

    def give_up(self) -> None:
        """Cut the connection: the client answers no more."""
        if not self._deaf:
            self.close_code = CloseCode.ABNORMAL
        self._transport.abort()

    def _write_close(self, payload: bytes) -> None:
        self.write(CLOSE, payload)
        self._close_sent = True
        self._pong = None
        self._timer = self._loop.call_later(self._close_timeout, self.give_up)

    def _warn(self, size: int) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "a WebSocket message of %d bytes: the hosting platform drops frames over 1 MiB, "
                "so send large data in smaller messages",
                size,
            )

    def _resume(self) -> None:
        if self._stalled:
            self._stalled = False
            if not self._deaf:
                self._read(b"")
            if not self._stalled and not self._transport.is_closing():
                self._transport.resume_reading()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(asyncio.TimeoutError("no message came in time"))


def _closed(code: int | None) -> ConnectionResetError:
    return ConnectionResetError(f"the WebSocket is closed ({code}): nothing can be sent")
