"""Sends what the page asks for to the agent, and to nowhere else.

It keeps nothing of the answers: the tap sees them, as it sees those to any other client.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any, Final

import aiohttp

from agentserver._time_limit import wait_for
from agentserver.inspector.calls import Call, Message, MistakeError
from agentserver.inspector.http_messages import Body, Head, MessageReader
from agentserver.inspector.recording import HIDDEN

__all__ = ["Driver", "Makers"]

_PIECE: Final = 65536
_PORTS_KEPT: Final = 4096
_HIDDEN_SECONDS: Final = 10.0
_MAX_MESSAGE: Final = 64 * 1024 * 1024
_NEVER_SENT: Final = frozenset({1004, 1005, 1006, 1015})
_ENDS: Final = frozenset(
    {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
)


class Makers:
    """Who makes a connection, by the port that it comes from."""

    def __init__(self) -> None:
        self._by_port: OrderedDict[int, tuple[str, int]] = OrderedDict()

    def of(self, port: int) -> tuple[str, int]:
        """``page``, ``hidden`` or ``client``, and the number of the page's call."""
        return self._by_port.get(port, ("client", 0))

    def add(self, port: int, maker: str, call: int) -> None:
        """Take note of a connection that is about to be made."""
        self._by_port.pop(port, None)
        self._by_port[port] = (maker, call)
        while len(self._by_port) > _PORTS_KEPT:
            self._by_port.popitem(last=False)


class Driver:
    """The page's client.

    Args:
        makers: Told of each connection.
        tell: Told what became of a call that reached no agent: its number and a sentence.
    """

    def __init__(self, makers: Makers, tell: Callable[[int, str], object]) -> None:
        self._makers = makers
        self._tell = tell
        self._numbers = count(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._websockets: dict[int, aiohttp.ClientWebSocketResponse[bool]] = {}
        self._closing: dict[int, asyncio.Event] = {}
        self.address: tuple[str, int] | None = None

    @property
    def authority(self) -> str:
        """The agent's host and port, as a URL has them."""
        host, port = self._address()
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, call: Call) -> int:
        """Send *call*; its answer is read and left to the tap. Return the call's number."""
        return self._start(lambda number: self._send(number, call))

    def connect(self, call: Call) -> int:
        """Open a WebSocket; return the call's number."""
        return self._start(lambda number: self._connect(number, call))

    def leave(self, number: int) -> None:
        """End a call as a client does that goes away."""
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()

    async def say(self, number: int, message: Message) -> None:
        """Send a message on the WebSocket of the call *number*.

        Raises:
            MistakeError: If it is not open, or the message cannot be sent.
        """
        websocket = self._websockets.get(number)
        if websocket is None or websocket.closed:
            raise MistakeError("The WebSocket is not open")
        try:
            if message.kind == "text":
                await websocket.send_str(message.data.decode())
            elif message.kind == "binary":
                await websocket.send_bytes(message.data)
            elif message.kind == "ping":
                await websocket.ping(message.data)
            elif message.kind == "pong":
                await websocket.pong(message.data)
            elif message.kind == "vanish":
                self.leave(number)
            elif message.code in _NEVER_SENT:
                raise MistakeError(f"{message.code} stands for the lack of a close code and is never sent")
            else:
                await self._close(number, websocket, message)
        except (UnicodeDecodeError, ConnectionError, aiohttp.ClientError) as error:
            raise MistakeError(f"The message could not be sent: {error}") from None

    async def ask(self, path: str) -> tuple[int, str, bytes]:
        """GET *path* for the inspector itself: its status, content type and body.

        Raises:
            MistakeError: If the agent does not answer.
        """
        data = Call("GET", path).encode(self.authority)
        try:
            return await wait_for(self._ask(data), _HIDDEN_SECONDS)
        except (OSError, asyncio.TimeoutError, ValueError, asyncio.IncompleteReadError):
            raise MistakeError("The agent does not answer") from None

    async def stop(self) -> None:
        """End whatever goes on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _address(self) -> tuple[str, int]:
        if self.address is None:
            raise MistakeError("The agent has not been started yet")
        return self.address

    def _start(self, work: Callable[[int], Any]) -> int:
        self._address()
        number = next(self._numbers)
        task = self._tasks[number] = asyncio.create_task(self._run(number, work))
        task.add_done_callback(lambda _: self._tasks.pop(number, None))
        return number

    async def _run(self, number: int, work: Callable[[int], Any]) -> None:
        try:
            await work(number)
        except (OSError, aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
            self._tell(number, f"{' '.join(str(error).split()) or type(error).__name__}")

    async def _send(self, number: int, call: Call) -> None:
        limit = min(_PIECE, call.faults.rate or _PIECE)
        data = call.encode(self.authority)
        reader, writer = await self._open(limit, "page", number)
        left = False
        sending = asyncio.create_task(_write(writer, data))
        try:
            received = 0
            while piece := await reader.read(limit):
                received += len(piece)
                if call.faults.drop_after and received >= call.faults.drop_after:
                    left = True
                    break
                if call.faults.rate:
                    await asyncio.sleep(len(piece) / call.faults.rate)
        except asyncio.CancelledError:
            left = True
            raise
        finally:
            sending.cancel()
            if left:
                writer.transport.abort()
            else:
                writer.close()
            await asyncio.gather(sending, return_exceptions=True)  # the answer has said how it went

    async def _ask(self, data: bytes) -> tuple[int, str, bytes]:
        reader, writer = await self._open(_PIECE, HIDDEN, 0)
        try:
            writer.write(data)
            parts = MessageReader(is_response=True).feed(await reader.read(-1))
        finally:
            writer.close()
        head = next((part for part in parts if isinstance(part, Head)), None)
        if head is None:
            raise ValueError("no answer")
        body = b"".join(part.data for part in parts if isinstance(part, Body))
        return head.status, head.get("content-type"), body

    async def _connect(self, number: int, call: Call) -> None:
        made: list[socket.socket] = []

        def make(found: tuple[Any, ...]) -> socket.socket:
            made.append(self._socket(found[0], "page", number))
            return made[-1]

        connector = aiohttp.TCPConnector(socket_factory=make)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(
                f"http://{self.authority}{call.path}",
                headers=call.headers,
                max_msg_size=_MAX_MESSAGE,
                compress=15,
            ) as websocket,
        ):
            self._websockets[number] = websocket
            try:
                while (await websocket.receive()).type not in _ENDS:
                    pass
            except asyncio.CancelledError:
                made[-1].shutdown(socket.SHUT_RDWR)  # no close frame: that is how a client vanishes
                raise
            finally:
                del self._websockets[number]
                if closing := self._closing.pop(number, None):
                    await closing.wait()

    async def _close(
        self, number: int, websocket: aiohttp.ClientWebSocketResponse[bool], message: Message
    ) -> None:
        # Whoever receives is woken by this before the close is sent, and must not send one of its own.
        closing = self._closing[number] = asyncio.Event()
        try:
            await websocket.close(code=message.code, message=message.data)
        finally:
            closing.set()

    async def _open(
        self, limit: int, maker: str, number: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _ = address = self._address()
        made = self._socket(socket.AF_INET6 if ":" in host else socket.AF_INET, maker, number)
        try:
            await asyncio.get_running_loop().sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return await asyncio.open_connection(sock=made, limit=limit)

    def _socket(self, family: int, maker: str, number: int) -> socket.socket:
        """Make a socket whose port is known before the agent sees it."""
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        made.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self._makers.add(made.getsockname()[1], maker, number)
        return made


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
