"""One WebSocket on its transport: messages both ways, flow control, the closing, the pings.

How it works. After the 101 the transport's protocol is a `WebSocketConnection`; aiohttp's parser and request
handling are out of the way. What comes is given to a `FrameReader`, which calls back with whole messages and
control frames. Messages wait in a list for the handler's `receive`; Pings and Closes are acted upon at once,
whether the handler reads or not. What the handler sends is written to the transport at once.

Where the connection stands is a state of the table in `closing`, and in no other place: each method tells the
table what has happened and does what it says. `on_end` is called once, when the client has ended the
connection, and `lost` is done when the transport is gone; whoever runs the handler waits for these two.

Flow control. A transport that has too much unsent calls `pause_writing`: from then on senders wait in
`drain`, and of the client's Pings only the latest is answered. A handler that does not read lets messages
wait up to a limit; then the state is `PAUSED` and nothing is read from the socket, so that the client waits.

Timers. Every state behind `OPEN` lasts at most the close time-out. With a ping interval, a client that sent
nothing between one Ping and the next is gone, unless it is us who do not read. Timers, and the reading of the
socket, run in the context that the connection was made in, never in that of a handler that happens to call.
Large payloads are read by `large_messages`, which borrows the transport and gives it back.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Sequence
from typing import Final

from aiohttp import WSMessage, WSMsgType

from agentserver._telemetry.observer import Traffic
from agentserver._websocket.closing import (
    OPEN_STATES,
    SENDING_STATES,
    Effect,
    Event,
    Handshakes,
    ProtocolError,
    State,
    close_payload,
    read_close,
)
from agentserver._websocket.deflate import Deflate, Deflater, Inflater
from agentserver._websocket.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, header
from agentserver._websocket.large_messages import LARGE_PAYLOAD, UNWATCHED, LargePayloads, Lender, Watched

# What may wait for a handler that does not read, besides one message: then the client is stopped.
_UNREAD_LIMIT: Final = 1 << 16
# Charged for each message, so that a million empty ones cannot wait either.
_MESSAGE_COST: Final = 128
# From here on header and payload are written one after the other instead of being copied together.
_LARGE: Final = 1 << 14
# Frames over this never pass the hosting platform (contract, section 5).
_PLATFORM_LIMIT: Final = 1 << 20
_CLOSED: Final = WSMessage(WSMsgType.CLOSED, None, None)
_OPEN: Final = State.OPEN  # by name: asked for with every message
_READING_STATES: Final = (_OPEN, State.CLOSING)

logger = logging.getLogger("agentserver")


class WebSocketConnection(Lender):
    """The connection under a handler's `WebSocket`.

    Args:
        transport: The upgraded connection.
        max_size: Bytes a message may have.
        close_timeout: Seconds for the client to answer a close.
        deflate: How messages are compressed, if that was negotiated.
        ping_interval: Seconds between Pings; 0 is none.
        traffic: Where data messages are counted; ``None`` while telemetry is off.
        watched: Is told when something has come from the client.
        on_end: Called once when the client has ended the connection; with True if it did not say goodbye.

    Attributes:
        error: What the client did wrong.
        lost: Done when the transport is gone.
    """

    __slots__ = (
        "_close_timeout",
        "_context",
        "_deflater",
        "_handshakes",
        "_has_warned",
        "_loop",
        "_on_end",
        "_ping_interval",
        "_ping_timer",
        "_pong",
        "_queue",
        "_reader",
        "_senders",
        "_timer",
        "_traffic",
        "_transport",
        "_unread",
        "_waiter",
        "error",
        "lost",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        max_size: int,
        close_timeout: float,
        deflate: Deflate | None = None,
        ping_interval: float = 0.0,
        traffic: Traffic | None = None,
        watched: Watched = UNWATCHED,
        on_end: Callable[[bool], object] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._transport = transport
        inflater = None if deflate is None else Inflater(takeover=deflate.client_takeover)
        self._reader = FrameReader(self, max_size, inflater)
        self._deflater = None if deflate is None else Deflater(deflate)
        self._close_timeout = close_timeout
        self._ping_interval = ping_interval
        self._traffic = traffic
        self.watched = watched
        self._on_end = on_end
        self._handshakes = Handshakes()
        self._queue: list[tuple[WSMessage, int]] = []  # short: an empty deque takes 700 bytes more
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self._senders: list[asyncio.Future[None]] | None = None
        self._pong: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ping_timer: asyncio.TimerHandle | None = None
        self._has_warned = False
        self.received_since_ping = True
        self.error: ProtocolError | None = None
        self.lost: asyncio.Future[None] = self._loop.create_future()

    def accepted(self) -> None:
        """The 101 has gone out, and the transport is this connection's."""
        self._on(Event.ACCEPTED)
        if self._ping_interval:
            self._ping_timer = self._later(self._ping_interval, self._tick)

    # --- what the transport says

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self.received_since_ping = True  # as `has_received`, without a call for each message
        if (on_work := self.watched.on_work) is not None:
            on_work()
        if self._handshakes.state in _READING_STATES:
            self._read(data)
            if self._reader.left > LARGE_PAYLOAD and self._handshakes.state in _READING_STATES:
                LargePayloads(self, self._reader, self._transport)

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
            self._answer_ping(pong)

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        is_abrupt = self._handshakes.state in OPEN_STATES
        self._pong = None
        self._on(Event.LOST)
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        self.resume_writing()
        self._wake_receiver()
        self._tell_end(is_abrupt=is_abrupt)

    # --- what the reader says

    def on_message(self, message: WSMessage, size: int) -> bool:
        """Queue a message for the handler."""
        if self._handshakes.state is not _OPEN:
            return True
        if size > _PLATFORM_LIMIT:
            self._warn(size)
        self._queue.append((message, size))
        self._unread += size + _MESSAGE_COST
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._unread > _UNREAD_LIMIT and len(self._queue) > 1:
            self._on(Event.FULL)
            return False
        return True

    def on_control(self, opcode: int, payload: bytes) -> bool:
        """Answer a control frame."""
        if opcode == CLOSE:
            code, reason = read_close(payload)
            self._client_ends(Event.CLOSE_RECEIVED, code, reason, payload[:2])
        elif opcode == PING and self._handshakes.state is _OPEN:
            if self._senders is None:
                self._answer_ping(payload)
            else:
                self._pong = payload  # only the latest Ping needs its answer (RFC 6455, section 5.5.3)
        return self._handshakes.state in _READING_STATES

    def _answer_ping(self, payload: bytes) -> None:
        if not self._transport.is_closing():
            self.write(PONG, payload)

    def fail(self, error: ProtocolError) -> None:
        """The client broke the protocol."""
        self.error = error
        payload = close_payload(int(error.code), error.reason)
        self._client_ends(Event.BROKEN, error.code, error.reason, payload)

    def _read(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except ProtocolError as error:
            self.fail(error)

    # --- the table

    def _on(self, event: Event, code: int | None = None, payload: bytes = b"") -> None:
        """Do what the table says about *event*."""
        handshakes = self._handshakes
        before = handshakes.state
        effects = handshakes.on(event, code, payload)
        state = handshakes.state
        if state is not before and state not in OPEN_STATES:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if state is not State.GONE:
                self._timer = self._later(self._close_timeout, self._on, Event.TIMEOUT)
        for effect in effects:
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        transport = self._transport
        if effect is Effect.STOP_READING:
            transport.pause_reading()
        elif effect is Effect.GO_ON_READING:
            self._read(b"")
            if not self.is_paused and not transport.is_closing():
                # asyncio's own loop reads from then on in the context of whoever asks for it.
                self._context.copy().run(transport.resume_reading)
        elif effect is Effect.SEND_CLOSE:
            self._pong = None
            transport.write(header(CLOSE, len(self._handshakes.payload)) + self._handshakes.payload)
        elif effect is Effect.CLOSE_TRANSPORT:
            transport.close()
        elif effect is Effect.ABORT:
            transport.abort()
        elif transport.can_write_eof():
            transport.write_eof()

    def _client_ends(self, event: Event, code: int, reason: str, payload: bytes) -> None:
        is_first, is_drained = self._handshakes.state in OPEN_STATES, not self._queue
        self._on(event, code, payload)
        if is_first:
            self._queue.append((WSMessage(WSMsgType.CLOSE, code, reason), 0))
            if is_drained:
                self._on(Event.DRAINED)
            self._wake_receiver()
            self._tell_end(is_abrupt=False)

    def _wake_receiver(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tell_end(self, *, is_abrupt: bool) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(is_abrupt)

    def _later(self, delay: float, call: Callable[..., object], *arguments: object) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, call, *arguments, context=self._context)

    def _tick(self) -> None:
        if not self.received_since_ping and not self.is_paused:
            self.abort()
            return
        self.received_since_ping = self.is_paused
        if not self.close_sent:
            self.write(PING, b"")
        self._ping_timer = self._later(self._ping_interval, self._tick)

    # --- what the handler wants

    @property
    def state(self) -> State:
        """How far the handshakes have come."""
        return self._handshakes.state

    @property
    def close_code(self) -> int | None:
        """How the connection ended or is going to; ``None`` while it is open."""
        return self._handshakes.code

    @property
    def close_sent(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._handshakes.state not in SENDING_STATES

    @property
    def is_paused(self) -> bool:
        """Whether the client is stopped, because the handler does not read."""
        return self._handshakes.state is State.PAUSED

    @property
    def is_slow(self) -> bool:
        """Whether the client does not keep up."""
        return self._senders is not None

    async def receive(self, timeout: float | None = None) -> WSMessage:
        """The next message; a ``CLOSE`` and then ``CLOSED`` for ever when there are no more.

        Args:
            timeout: Seconds to wait, then `asyncio.TimeoutError`.
        """
        while not self._queue:
            if self._handshakes.state not in OPEN_STATES:
                return _CLOSED
            if self._waiter is not None:
                raise RuntimeError("receive() is running already: one task at a time may read a WebSocket")
            waiter = self._waiter = self._loop.create_future()
            timer = None if timeout is None else self._later(timeout, _expire, waiter)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        message, size = self._queue.pop(0)
        self._unread -= size + _MESSAGE_COST
        if self._handshakes.state is not _OPEN:
            if not self._queue:
                self._on(Event.DRAINED)
            if self._unread <= _UNREAD_LIMIT // 2:
                self._on(Event.READ)
        if self._traffic is not None and message.type <= BINARY:
            self._traffic.received(size)
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
        if self._traffic is not None and opcode <= BINARY:
            self._traffic.sent(len(payload))
        if self._senders is not None:
            await self.drain()

    def write(self, opcode: int, payload: bytes, *, compress: bool = True) -> None:
        """Send a frame without waiting.

        Raises:
            ConnectionResetError: If the connection is closed.
        """
        # A transport that its client has reset takes every write and pauses nobody: whoever sends in a loop
        # would never let the loop say so.
        if self._handshakes.state not in SENDING_STATES or self._transport.is_closing():
            raise self._closed()
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

    def write_texts(self, texts: Sequence[bytes]) -> None:
        """Send text messages without waiting, in one system call where each alone would be one.

        Raises:
            ConnectionResetError: If the connection is closed.
        """
        is_plain = self._deflater is None and max(map(len, texts)) < _LARGE
        if self.close_sent or self._transport.is_closing() or not is_plain:
            for text in texts:
                self.write(TEXT, text)
        else:
            self._transport.write(b"".join([header(TEXT, len(text)) + text for text in texts]))
        if self._traffic is not None:
            for text in texts:
                self._traffic.sent(len(text))

    async def drain(self) -> None:
        """Wait while the client does not keep up.

        Raises:
            ConnectionResetError: If the connection is closed.
        """
        while self._senders is not None:
            sender = self._loop.create_future()
            self._senders.append(sender)
            await sender
            if self.lost.done():
                raise self._closed()

    def close(self, code: int, reason: bytes | str = b"") -> bool:
        """Begin to close, without waiting; False if that has begun already.

        Raises:
            TypeError, ValueError: If *code* or *reason* may not be sent.
        """
        payload = close_payload(code, reason)
        is_first = self._handshakes.state in OPEN_STATES
        if is_first:
            self._queue.clear()
            self._unread = 0
        self._on(Event.CLOSE, code, payload)
        if is_first:
            self._queue.append((WSMessage(WSMsgType.CLOSING, None, None), 0))
            self._wake_receiver()
        return is_first

    def abort(self) -> None:
        """Cut the connection: the client answers no more."""
        self._transport.abort()

    def _warn(self, size: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._context.copy().run(
                logger.warning,
                "a WebSocket message of %d bytes: the hosting platform drops frames over 1 MiB, "
                "so send large data in smaller messages",
                size,
            )

    def _closed(self) -> ConnectionResetError:
        return ConnectionResetError(f"the WebSocket is closed ({self.close_code}): nothing can be sent")


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(asyncio.TimeoutError("no message came in time"))
