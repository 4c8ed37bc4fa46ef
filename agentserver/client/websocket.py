"""A raw WebSocket to an agent: messages, close codes, and a reconnect that resumes the session."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, cast

import aiohttp
from typing_extensions import Self

from agentserver.client.errors import ConnectionClosedError, DeadlineError
from agentserver.client.resumption import Resumption, is_resumable
from agentserver.client.retry import Retry
from agentserver.client.transport import Call, Socket, Transport
from agentserver.wire import SESSION_ID_HEADER, CloseCode

__all__ = ["Connection", "opener"]

_NEVER_SENT = frozenset({1004, 1005, 1006, 1015})
"""Codes that stand for the lack of one, or for nothing yet."""

Opener = Callable[["str | None"], Awaitable[Socket]]


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
    ) -> None:
        self._opener = opener
        self._resumption = None if reconnect is None else Resumption(reconnect)
        self._on_reconnect = on_reconnect
        self._socket: Socket | None = None
        self._opening = asyncio.Lock()
        self._resuming: asyncio.Task[Any] | None = None
        self._pings: dict[bytes, asyncio.Future[float]] = {}
        self._receiving: asyncio.Task[str | bytes] | None = None
        self._closed_by_us = False
        self._close_done = asyncio.Event()
        self.session_id = session_id
        self.close_code: int | None = None
        self.close_reason = ""

    async def __aenter__(self) -> Self:
        await self._open()
        self._receiving = self._reading()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self._messages()

    async def send(self, message: str | bytes) -> None:
        """Send a text (``str``) or binary (``bytes``) message.

        With reconnecting on, a message that finds the connection broken waits for the next one; a message
        that was on its way when it broke is not sent again, for it may have arrived.

        Raises:
            ConnectionClosedError: If the connection is closed, or breaks while sending.
        """
        socket = await self._usable()
        try:
            if isinstance(message, str):
                await socket.send_str(message)
            else:
                await socket.send_bytes(message)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._closed() from error

    async def send_json(self, value: Any) -> None:
        """Send *value* as JSON in a text message."""
        await self.send(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    async def receive(self, timeout: float | None = None) -> str | bytes:
        """Return the next message: ``str`` for text, ``bytes`` for binary.

        Args:
            timeout: Seconds to wait; None waits as long as the connection holds.

        Raises:
            ConnectionClosedError: If the connection is closed, 1000 included, and is not to be resumed.
            DeadlineError: If nothing came within *timeout*.
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
        """Return the next message, read as JSON.

        Raises:
            ValueError: If it is not JSON.
        """
        return json.loads(await self.receive(timeout))

    async def ping(self, timeout: float = 10.0) -> float:
        """Send a Ping frame and return the seconds until its Pong; a message not yet received is in its way.

        Raises:
            DeadlineError: If no Pong came within *timeout* seconds.
        """
        payload = os.urandom(8)
        waiter: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._pings[payload] = waiter
        started = time.perf_counter()
        try:
            await (await self._usable()).ping(payload)
            return await asyncio.wait_for(waiter, timeout) - started
        except asyncio.TimeoutError:
            raise DeadlineError(f"no Pong came within {timeout:g} s", session_id=self.session_id) from None
        finally:
            del self._pings[payload]

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close, and wait for the peer's part.

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
                await socket.close(code=code, message=_fitting(reason))
                self.close_code = self.close_code or socket.close_code
        finally:
            self._close_done.set()
            if self._receiving is not None:
                self._receiving.cancel()
                await asyncio.gather(self._receiving, return_exceptions=True)

    async def _messages(self) -> AsyncIterator[str | bytes]:
        try:
            while True:
                yield await self.receive()
        except ConnectionClosedError as error:
            if error.code != CloseCode.NORMAL and not self._closed_by_us:
                raise

    def _reading(self) -> asyncio.Task[str | bytes]:
        """What reads on to the next message, and answers Pings and closes before it."""
        return self._receiving or asyncio.create_task(self._receive())

    async def _receive(self) -> str | bytes:
        while True:
            socket = await self._usable()
            message = cast("aiohttp.WSMessage", await socket.receive())
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                if self._resumption is not None:
                    self._resumption.alive()
                return message.data  # type: ignore[no-any-return]  # str or bytes, as the type just said
            await self._control(socket, message)

    async def _control(self, socket: Socket, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            waiter = self._pings.get(bytes(message.data))
            if waiter is not None and not waiter.done():
                waiter.set_result(time.perf_counter())
        else:
            await self._ended(socket, message)

    async def _ended(self, socket: Socket, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.close_code, self.close_reason = message.data, message.extra or ""
            # 1005 stands for a close frame without a code, and is never sent (RFC 6455, section 7.4.1).
            await socket.close(code=CloseCode.NORMAL if message.data in {0, 1005} else message.data)
        elif not self._closed_by_us:
            self.close_code = socket.close_code or CloseCode.ABNORMAL
            self.close_reason = ""
            await socket.close()

    async def _usable(self) -> Socket:
        """Return the open socket, a new one if the last broke and resuming was asked for."""
        if self._closed_by_us:
            await self._close_done.wait()
            raise self._closed()
        while self._socket is None or self._socket.closed:
            resumption = self._resumption
            # A callback of the resumption that finds the new socket broken too must not wait for itself.
            if resumption is None or not self._resumable() or self._resuming is asyncio.current_task():
                raise self._closed()
            async with self._opening:
                if self._socket is not None and self._socket.closed and self._resumable():
                    await self._resume(resumption)
        return self._socket

    def _resumable(self) -> bool:
        return self.close_code is None or is_resumable(self.close_code)

    async def _resume(self, resumption: Resumption) -> None:
        self._resuming = asyncio.current_task()
        try:
            await resumption.connect(self._open_again, self._closed())
        finally:
            self._resuming = None

    async def _open_again(self) -> None:
        socket = await self._open()
        if self._closed_by_us:  # while we were connecting
            await socket.close()
            raise self._closed()
        if self._on_reconnect is not None:
            await self._on_reconnect(self)

    async def _open(self) -> Socket:
        socket = self._socket = await self._opener(self.session_id)
        self.close_code, self.close_reason = None, ""
        if self._resumption is not None:
            self._resumption.opened()
        # aiohttp shows the headers of the 101 nowhere else.
        response = socket._response
        self.session_id = response.headers.get(SESSION_ID_HEADER, self.session_id)
        return socket

    def _closed(self) -> ConnectionClosedError:
        code = self.close_code or (self._socket.close_code if self._socket is not None else None)
        return ConnectionClosedError(
            code or CloseCode.ABNORMAL, self.close_reason, session_id=self.session_id
        )


def opener(
    transport: Transport,
    *,
    heartbeat: float | None,
    max_message_size: int,
    actions: bool = False,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Opener:
    """What opens the socket of a `Connection`, once for each session id it is called with."""

    async def open_socket(session_id: str | None) -> Socket:
        url = transport.endpoint.connect(session_id, actions=actions).update_query(query or {})
        call = Call("GET", url, session_id=session_id, headers=headers or {})
        return await transport.websocket(call, heartbeat=heartbeat, max_message_size=max_message_size)

    return open_socket


def _fitting(reason: str) -> bytes:
    # Cutting bytes may cut a character, and a reason that is no UTF-8 breaks the protocol.
    return reason.encode()[:123].decode(errors="ignore").encode()
