"""A raw WebSocket to an agent: messages, close codes, and a reconnect that resumes the session.

A `Connection` is what the caller holds; under it lies one `OpenWebSocket` after the other. Everything that
needs one asks `_usable()`: it returns the open one, raises how the last one ended, or, with ``reconnect=``,
makes the next. Whoever finds it broken first does so, and the others wait behind the lock; the callback
that says that the session was resumed runs inside of that, and may send but not wait for itself.

A task reads one message ahead of the caller. It answers the server's Pings and its close while nobody
receives, and it is never cancelled by a caller that gives up waiting: aiohttp takes a cancelled read for a
broken connection. So `receive` waits for the task, with a time-out or without, and leaves it running.

The close code is the one that was exchanged: the peer's, when it closed; what it answered, when we did; and
1006, when nothing was, be it because the network broke, no Pong came, or the peer did not read and was cut
off.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

import aiohttp
from typing_extensions import Self

from agentserver._time_limit import wait_for
from agentserver.client.errors import AnswerError, ClientError, ConnectionClosedError, DeadlineError
from agentserver.client.http_session import HttpSession
from agentserver.client.open_websocket import OpenWebSocket
from agentserver.client.reconnect import Reconnector, is_resumable
from agentserver.client.request import Call, encode_json
from agentserver.client.retry import NO_RETRY, Retry, limit
from agentserver.wire import SESSION_ID_HEADER, CloseCode

__all__ = ["Connection", "opener"]

_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})
"""Codes that stand for the lack of one, or for nothing yet."""

Opener = Callable[["str | None", bool], Awaitable[OpenWebSocket]]
"""Opens a WebSocket in a session; with True, once, for whoever counts the attempts."""


class Connection:
    """A WebSocket, used as an asynchronous context manager and iterated over for its messages.

    One task may receive while others send. It reads one message ahead, so that the server's Pings and its
    close are answered while nobody receives. Made by :meth:`InvocationsClient.connect`.
    """

    def __init__(
        self,
        opener: Opener,
        session_id: str | None,
        reconnect: Retry | None = None,
        on_reconnect: Callable[[Connection], Awaitable[None]] | None = None,
        *,
        once: bool = False,
    ) -> None:
        self._opener = opener
        self._once = once
        self._reconnector = None if reconnect is None else Reconnector(reconnect)
        self._on_reconnect = on_reconnect
        self._socket: OpenWebSocket | None = None
        self._opening = asyncio.Lock()
        self._resuming: asyncio.Task[Any] | None = None
        self._pings: dict[bytes, asyncio.Future[float | None]] = {}
        self._receiving: asyncio.Task[str | bytes] | None = None
        self._closed_by_us = False
        self._close_done = asyncio.Event()
        self.session_id = session_id
        self.close_code: int | None = None
        self.close_reason = ""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            ResponseError: If the server refuses: 404 when it serves no WebSocket.
            UnreachableError: If there is no server.
            LostConnectionError: If the connection broke before the server answered.
            DeadlineError: If the answer did not come within ``timeouts.connect``.
            CredentialError: If there is no token.
        """
        await self._open(once=self._once)
        self._receiving = self._reading()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self._messages()

    async def send(self, message: str | bytes) -> None:
        """Send *message*, a text (``str``) or a binary one (``bytes``).

        With reconnecting on, a message that finds the connection broken waits for the next one; a message
        that was on its way when it broke is not sent again, for it may have arrived. A peer that does not
        take it within ``timeouts.idle`` is gone (1006). One that the caller no longer waits for is sent all
        the same.

        Raises:
            ConnectionClosedError: If the connection is closed, or breaks while sending.
            ClientError: With reconnecting on, what the last attempt to connect again raised.
            ValueError: If the text has characters that UTF-8 has not.
        """
        socket = await self._usable()
        try:
            await socket.send(message)
        except ConnectionError as error:
            raise self._closed() from error

    async def send_json(self, value: Any) -> None:
        """Send *value* as JSON in a text message.

        Raises:
            ValueError: If it is no JSON; the others as for :meth:`send`.
        """
        await self.send(encode_json(value, "message", (",", ":")))

    async def receive(self, timeout: float | None = None) -> str | bytes:
        """Return the next message: ``str`` for text, ``bytes`` for binary.

        Args:
            timeout: Seconds to wait; None waits as long as the connection holds.

        Raises:
            ConnectionClosedError: If the connection is closed, 1000 included, and is not to be resumed.
            DeadlineError: If nothing came within *timeout*.
            ClientError: With reconnecting on, what the last attempt to connect again raised.
        """
        # The waiting is given up, never the reading: aiohttp takes a cancelled read for a broken connection.
        receiving = self._receiving = self._reading()
        await asyncio.wait({receiving}, timeout=timeout)
        if not receiving.done():
            raise DeadlineError(f"no message came within {timeout:g} s", session_id=self.session_id)
        self._receiving = None
        if receiving.cancelled():
            raise self._closed()
        message = receiving.result()
        self._receiving = self._reading()
        return message

    async def receive_json(self, timeout: float | None = None) -> Any:
        """Return the next message, read as JSON; *timeout* is as for :meth:`receive`.

        Raises:
            AnswerError: If it is not JSON; it is taken all the same. The others as for :meth:`receive`.
        """
        message = await self.receive(timeout)
        try:
            return json.loads(message)
        except (ValueError, RecursionError) as error:
            words = f"the message cannot be read as JSON: {error}"
            raise AnswerError(words, session_id=self.session_id) from None

    async def ping(self, timeout: float = 10.0) -> float:
        """Send a Ping frame and return the seconds until its Pong; a message not yet received is in its way.

        Raises:
            DeadlineError: If no Pong came within *timeout* seconds.
            ConnectionClosedError: If the connection is closed, or ends first.
            ValueError: If *timeout* is not above 0.
        """
        seconds = limit(timeout, timeout)
        asker = asyncio.current_task()  # the waiting may be done by a task of its own
        try:
            return await wait_for(self._round_trip(asker), seconds)
        except ClientError:
            raise
        except asyncio.TimeoutError:
            raise DeadlineError(f"no Pong came within {timeout:g} s", session_id=self.session_id) from None

    async def _round_trip(self, asker: asyncio.Task[Any] | None) -> float:
        payload = os.urandom(8)
        socket = await self._usable(asker)
        waiter = self._pings[payload] = asyncio.get_running_loop().create_future()
        started = time.perf_counter()
        try:
            await socket.ping(payload)
            answered: float | None = await waiter
        except ConnectionError as error:
            raise self._closed() from error
        finally:
            del self._pings[payload]
        if answered is None:
            raise self._closed()
        return answered - started

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close, and wait for the peer's part, ``timeouts.close`` seconds at most.

        Args:
            code: 1000 to 4999, without those that only ever stand for something (RFC 6455, section 7.4.1).
            reason: Cut to the 123 bytes of UTF-8 that fit into the frame.

        Raises:
            ValueError: If no frame may carry the code.
        """
        if not 1000 <= code <= 4999 or code in _NEVER_SENT:
            raise ValueError(f"the close code is {code}, but needs to be 1000 or 3000 to 4999")
        self._closed_by_us = True
        socket = self._socket
        try:
            if socket is not None and not socket.closed:
                await socket.close(code, _fitting(reason))
                self.close_code = self.close_code or socket.close_code
        finally:
            self._close_done.set()
            self._give_up_pings()
            if self._receiving is not None:
                self._receiving.cancel()
                await asyncio.gather(self._receiving, return_exceptions=True)

    def abort(self) -> None:
        """Cut the connection at once, without a word to the peer: for both sides it is then 1006."""
        if self._socket is not None:
            self._socket.abort()

    async def _messages(self) -> AsyncIterator[str | bytes]:
        try:
            while True:
                yield await self.receive()
        except ConnectionClosedError as error:
            if error.code not in {CloseCode.NORMAL, CloseCode.NO_STATUS} and not self._closed_by_us:
                raise

    def _reading(self) -> asyncio.Task[str | bytes]:
        """What reads on to the next message, and answers Pings and closes before it."""
        return self._receiving or asyncio.create_task(self._receive())

    async def _receive(self) -> str | bytes:
        while True:
            socket = await self._usable()
            message = await socket.receive()
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                if self._reconnector is not None:
                    self._reconnector.alive()
                return message.data  # type: ignore[no-any-return]  # str or bytes, as the type just said
            await self._control(socket, message)

    async def _control(self, socket: OpenWebSocket, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.PING:
            with suppress(ConnectionError):  # the next receive says how it ended
                await socket.pong(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            waiter = self._pings.get(bytes(message.data))
            if waiter is not None and not waiter.done():
                waiter.set_result(time.perf_counter())
        else:
            await self._ended(socket, message)
            self._give_up_pings()

    async def _ended(self, socket: OpenWebSocket, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.CLOSE:
            # A close frame without a code is 1005, which is never sent (RFC 6455, section 7.4.1).
            self.close_code, self.close_reason = message.data or CloseCode.NO_STATUS, message.extra or ""
            await socket.close(message.data or CloseCode.NORMAL)
        elif not self._closed_by_us:
            self.close_code = socket.close_code or CloseCode.ABNORMAL
            self.close_reason = ""
            await socket.close()

    def _give_up_pings(self) -> None:
        for waiter in self._pings.values():
            if not waiter.done():
                waiter.set_result(None)

    async def _usable(self, asker: asyncio.Task[Any] | None = None) -> OpenWebSocket:
        """Return the open socket, a new one if the last broke and resuming was asked for.

        *asker* is the task it is for, if it is not the one that asks.
        """
        if self._closed_by_us:
            await self._close_done.wait()
            raise self._closed()
        while self._socket is None or self._socket.closed:
            reconnector = self._reconnector
            # A callback of the reconnect that finds the new socket broken too must not wait for itself.
            if (
                reconnector is None
                or not self._resumable()
                or self._resuming is (asker or asyncio.current_task())
            ):
                raise self._closed()
            async with self._opening:
                if self._socket is not None and self._socket.closed and self._resumable():
                    await self._resume(reconnector)
        return self._socket

    def _resumable(self) -> bool:
        return self.close_code is None or is_resumable(self.close_code)

    async def _resume(self, reconnector: Reconnector) -> None:
        self._resuming = asyncio.current_task()
        try:
            await reconnector.connect(self._open_again, self._closed())
        finally:
            self._resuming = None

    async def _open_again(self) -> None:
        socket = await self._open(once=True)
        if self._closed_by_us:  # while we were connecting
            await socket.close()
            raise self._closed()
        if self._on_reconnect is not None:
            await self._on_reconnect(self)

    async def _open(self, *, once: bool) -> OpenWebSocket:
        if self._socket is not None:  # broken, perhaps without anybody having read so
            self._socket.abort()
        socket = self._socket = await self._opener(self.session_id, once)
        self.close_code, self.close_reason = None, ""
        if self._reconnector is not None:
            self._reconnector.opened()
        self.session_id = socket.headers.get(SESSION_ID_HEADER, self.session_id)
        return socket

    def _closed(self) -> ConnectionClosedError:
        code = self.close_code or (self._socket.close_code if self._socket is not None else None)
        return ConnectionClosedError(
            code or CloseCode.ABNORMAL, self.close_reason, session_id=self.session_id
        )


def opener(
    session: HttpSession,
    *,
    heartbeat: float | None,
    max_message_size: int,
    actions: bool = False,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Opener:
    """What opens the socket of a `Connection`.

    Raises:
        ValueError: If *heartbeat* or *max_message_size* makes no sense.
    """
    if heartbeat is not None:
        limit(heartbeat, heartbeat, "the heartbeat")
    if max_message_size < 0:
        raise ValueError(f"max_message_size is {max_message_size}, but needs to be 0 or more bytes")

    async def open_socket(session_id: str | None, once: bool) -> OpenWebSocket:
        url = session.endpoint.connect(session_id, actions=actions).update_query(query or {})
        return await session.websocket(
            Call("GET", url, session_id=session_id, headers=headers or {}, upgrade=True),
            heartbeat=heartbeat,
            max_message_size=max_message_size,
            retry=NO_RETRY if once else session.retry,
        )

    return open_socket


def _fitting(reason: str) -> bytes:
    # Cutting bytes may cut a character, and a reason that is no UTF-8 breaks the protocol.
    return reason.encode()[:123].decode(errors="ignore").encode()
