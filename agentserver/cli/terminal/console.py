"""What the consoles for WebSockets have in common: lines out, messages in, words that begin with a slash."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.json_completion import complete_json
from agentserver.cli.json_schema import Schema
from agentserver.cli.terminal.lines import Lines, open_lines
from agentserver.cli.terminal.screen import Screen
from agentserver.errors import AgentServerError

if TYPE_CHECKING:
    from agentserver.client import ConnectionClosedError

__all__ = ["Console", "Word"]


def _nothing(_text: str) -> list[str]:
    return []


class Word(NamedTuple):
    """What a word such as ``/ping`` does.

    Args:
        run: Called with the rest of the line.
        help: What ``/help`` says.
        complete: What the rest of the line may become when Tab is pressed.
    """

    run: Callable[[str], Awaitable[None]]
    help: str
    complete: Callable[[str], list[str]] = _nothing


class Console(ABC):
    """Lines go out, what comes back is shown, until either side ends.

    Args:
        screen: Where things are shown.
        reconnects: Whether a connection that breaks is followed by another.
        schema: What a line that is JSON may be, if the agent says.
    """

    def __init__(self, screen: Screen, *, reconnects: bool = False, schema: Schema | None = None) -> None:
        self.screen = screen
        self.schema = schema
        self.reconnects = reconnects
        self.over = False
        self.words: Mapping[str, Word] = {
            **self.own_words(),
            "help": Word(self._help, "show this"),
            "quit": Word(self._quit, "close and end, as Ctrl-D does"),
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
        with open_lines(self.complete, interactive=self.screen.interactive) as lines:
            reading = asyncio.create_task(self.read())
            writing = asyncio.create_task(self._write(lines))
            try:
                await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done() and writing.result():
                    await self.finish(reading)
                return self._ended(await reading)
            finally:
                await _cancel(reading, writing)

    def complete(self, text: str) -> tuple[int, list[str]]:
        """What may stand in place of the end of *text*, and how much of that end it replaces."""
        if not text.startswith("/"):
            return (0, []) if self.schema is None else complete_json(text, self.schema)
        word, space, rest = text[1:].partition(" ")
        if not space:
            return len(text), sorted(f"/{known}" for known in self.words if known.startswith(word))
        return len(rest), self.words[word].complete(rest) if word in self.words else []

    async def _write(self, lines: Lines) -> bool:
        """Carry out line after line; False if the connection ended first."""
        from agentserver.client import ConnectionClosedError

        async for text in lines:
            try:
                await self._take(text)
            except ConnectionClosedError as closed:
                if not self.reconnects:
                    return False
                if not self.screen.interactive:
                    raise
                self.screen.error(f"{closed}: the line may not have arrived")
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
        await self.words[word].run(rest)

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
        for name, word in self.words.items():
            self.screen.event("help", f"/{name:<7} {word.help}", "cyan", word=name, help=word.help)

    async def _quit(self, _rest: str) -> None:
        self.over = True


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
