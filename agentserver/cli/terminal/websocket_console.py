"""A console for a WebSocket, for a person or for a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from agentserver.cli.errors import CommandError
from agentserver.cli.files import complete_path, read_file
from agentserver.cli.json_schema import Schema
from agentserver.cli.terminal.console import Console, Word
from agentserver.cli.terminal.screen import Screen

if TYPE_CHECKING:
    from agentserver.client import Connection, ConnectionClosedError

__all__ = ["WebSocketConsole"]

_PLATFORM_LIMIT: Final = 1024 * 1024


class WebSocketConsole(Console):
    """A console for a WebSocket whose messages are the agent's own business.

    Args:
        connection: The connection, open.
        screen: Where things are shown.
        linger: Seconds of silence before a script's connection is closed.
        reconnects: Whether *connection* resumes its session when it breaks.
        schema: What a message may be, if the agent says.
    """

    def __init__(
        self,
        connection: Connection,
        screen: Screen,
        linger: float,
        *,
        reconnects: bool = False,
        schema: Schema | None = None,
    ) -> None:
        self._connection = connection
        self._linger = linger
        self._last = asyncio.get_running_loop().time()
        super().__init__(screen, reconnects=reconnects, schema=schema)
        session = connection.session_id
        screen.event(
            "open", f"connected, session {session}; /help says what there is, Ctrl-D ends", session_id=session
        )

    def own_words(self) -> Mapping[str, Word]:
        """Text, JSON, files, pings and the close."""
        return {
            "text": Word(self._send, "send the rest of the line as text, a leading slash included"),
            "json": Word(self._json, "send the rest of the line as text, if it is JSON"),
            "file": Word(self._file, "send the bytes of a file as one binary message", complete_path),
            "ping": Word(self._ping, "send a Ping frame and show how long its Pong took"),
            "close": Word(self._close, "close with a code and a reason: /close 4000 enough"),
        }

    async def line(self, text: str) -> None:
        """Send a line as text."""
        await self._send(text)

    async def read(self) -> ConnectionClosedError | None:
        """Show the messages."""
        from agentserver.client import ConnectionClosedError

        try:
            while True:
                self.screen.message(await self._connection.receive())
                self._last = asyncio.get_running_loop().time()
        except ConnectionClosedError as closed:
            return None if self.over else closed

    async def finish(self, reading: asyncio.Task[Any]) -> None:
        """Wait for a silence, if a script's answers may be on their way, and close."""
        loop = asyncio.get_running_loop()
        while not self.over and not self.screen.interactive and not reading.done():
            silent_for = loop.time() - self._last
            if silent_for >= self._linger:
                break
            await asyncio.wait({reading}, timeout=self._linger - silent_for)
        if not reading.done():
            await self._end(1000, "")

    async def _send(self, message: str | bytes) -> None:
        await self._connection.send(message)
        self._last = asyncio.get_running_loop().time()

    async def _json(self, rest: str) -> None:
        try:
            json.loads(rest)
        except ValueError as error:
            raise CommandError(f"/json needs JSON: {error}") from None
        await self._send(rest)

    async def _file(self, rest: str) -> None:
        data = read_file(rest.strip())
        if len(data) > _PLATFORM_LIMIT:
            words = "over 1 MiB, which the hosting platform drops"
            self.screen.event("warning", words, "yellow", bytes=len(data))
        await self._send(data)

    async def _ping(self, _rest: str) -> None:
        milliseconds = round(await self._connection.ping() * 1000, 1)
        self.screen.event("pong", f"pong after {milliseconds} ms", milliseconds=milliseconds)

    async def _close(self, rest: str) -> None:
        number, _, reason = rest.strip().partition(" ")
        code = int(number) if number.isascii() and number.isdigit() else 0
        if number and code != 1000 and not 3000 <= code <= 4999:
            raise CommandError(f"/close {number}: a code is 1000 or from 3000 to 4999")
        await self._end(code or 1000, reason)

    async def _end(self, code: int, reason: str) -> None:
        self.over = True
        await self._connection.close(code, reason)
        self.screen.event("close", f"closed with code {code}", code=code, reason=reason)
