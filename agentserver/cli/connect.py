"""``agentserver connect``: a console for a WebSocket, for a person or for a script."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agentserver.cli.caller import calling
from agentserver.cli.files import read_file
from agentserver.cli.lines import Lines, open_lines
from agentserver.cli.outcome import CommandError, Exit
from agentserver.cli.screen import Screen
from agentserver.errors import AgentServerError

if TYPE_CHECKING:
    from agentserver.client import Connection, ConnectionClosedError, InvocationsClient

__all__ = ["Console", "Word", "connect"]

Word: TypeAlias = tuple[Callable[[str], Awaitable[None]], str]
"""What a word such as ``/ping`` does, and its help."""

_PLATFORM_LIMIT: Final = 1024 * 1024


def connect(arguments: argparse.Namespace) -> int:
    """Connect, and talk until the input or the connection ends."""
    if arguments.actions and arguments.reconnect:
        raise CommandError("--reconnect resumes a conversation, and --actions has none: give one of them")
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    screen = Screen(as_json=arguments.json, interactive=interactive)

    async def talk(client: InvocationsClient) -> int:
        from agentserver.client import ResponseError

        try:
            return await _converse(client, arguments, screen)
        except ResponseError as error:
            if error.status != 404:
                raise
            what = "does not speak actions" if arguments.actions else "serves no WebSocket"
            raise CommandError(f"The agent {what} there: try 'agentserver invoke'", Exit.AGENT) from None

    return calling(arguments, talk)


async def _converse(client: InvocationsClient, arguments: argparse.Namespace, screen: Screen) -> int:
    if arguments.actions:
        from agentserver.cli.connect_actions import ActionsConsole

        async with client.actions() as actions:
            return await ActionsConsole(actions, screen).talk()
    from agentserver.client import Retry

    reconnect = Retry(attempts=8) if arguments.reconnect else None

    async def resumed(connection: Connection) -> None:
        session = connection.session_id
        screen.event("reconnect", f"connected again, session {session}", "yellow", session_id=session)

    async with client.connect(reconnect=reconnect, on_reconnect=resumed) as connection:
        return await RawConsole(connection, screen, arguments.linger).talk()


class Console(ABC):
    """Lines go out, what comes back is shown, until either side ends.

    Args:
        screen: Where things are shown.
    """

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.over = False
        self.words: Mapping[str, Word] = {
            **self.own_words(),
            "help": (self._help, "show this"),
            "quit": (self._quit, "close and end, as Ctrl-D does"),
        }

    @abstractmethod
    def own_words(self) -> Mapping[str, Word]:
        """What lines that begin with a slash do."""

    @abstractmethod
    async def line(self, text: str) -> None:
        """Take any other line."""

    @abstractmethod
    async def read(self) -> ConnectionClosedError | None:
        """Show what comes until the connection ends; None if this side ended it."""

    @abstractmethod
    async def finish(self, reading: asyncio.Task[Any]) -> None:
        """The input has ended: see to what is under way, then close."""

    async def talk(self) -> int:
        """Talk until the input or the connection ends, and return the exit code."""
        with open_lines([f"/{word}" for word in self.words], interactive=self.screen.interactive) as lines:
            reading = asyncio.create_task(self.read())
            writing = asyncio.create_task(self._write(lines))
            try:
                await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done() and writing.result():
                    await self.finish(reading)
                return self._ended(await reading)
            finally:
                await _cancel(reading, writing)

    async def _write(self, lines: Lines) -> bool:
        """Carry out line after line; False if the connection ended first."""
        from agentserver.client import ConnectionClosedError

        async for text in lines:
            try:
                await self._take(text)
            except ConnectionClosedError:
                return False
            except AgentServerError as error:
                if not self.screen.interactive:
                    raise
                self.screen.error(str(error))
            if self.over:
                break
        return True

    async def _take(self, text: str) -> None:
        if not text.startswith("/"):
            if text:
                await self.line(text)
            return
        word, _, rest = text[1:].partition(" ")
        if word not in self.words:
            raise CommandError(f"There is no /{word}: /help says what there is")
        await self.words[word][0](rest)

    def _ended(self, closed: ConnectionClosedError | None) -> int:
        if closed is None:
            return Exit.OK
        words = f"closed by the agent with code {closed.code}" + (
            f": {closed.reason}" if closed.reason else ""
        )
        self.screen.event("close", words, "yellow", code=closed.code, reason=closed.reason)
        if closed.code == 1000:
            return Exit.OK
        if self.screen.interactive:
            return Exit.BROKEN if closed.code == 1006 else Exit.AGENT
        raise closed

    async def _help(self, _rest: str) -> None:
        for word, (_, words) in self.words.items():
            self.screen.event("help", f"/{word:<7} {words}", "cyan", word=word, help=words)

    async def _quit(self, _rest: str) -> None:
        self.over = True


class RawConsole(Console):
    """A console for a WebSocket whose messages are the agent's own business."""

    def __init__(self, connection: Connection, screen: Screen, linger: float) -> None:
        self._connection = connection
        self._linger = linger
        self._last = asyncio.get_running_loop().time()
        super().__init__(screen)
        session = connection.session_id
        screen.event(
            "open", f"connected, session {session}; /help says what there is, Ctrl-D ends", session_id=session
        )

    def own_words(self) -> Mapping[str, Word]:
        """Text, JSON, files, pings and the close."""
        return {
            "text": (self._send, "send the rest of the line as text, a leading slash included"),
            "json": (self._json, "send the rest of the line as text, if it is JSON"),
            "file": (self._file, "send the bytes of a file as one binary message"),
            "ping": (self._ping, "send a Ping frame and show how long its Pong took"),
            "close": (self._close, "close with a code and a reason: /close 4000 enough"),
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


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
