"""A WebSocket conversation, written down step by step: what is said, what must come, how it must end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from typing_extensions import Self

from agentserver.client import Connection, ConnectionClosedError, DeadlineError
from agentserver.testing.conditions import DEADLINE_SECONDS

__all__ = ["Close", "Conversation"]

_SHOWN = 200


@dataclass(frozen=True)
class Close:
    """How a connection ended.

    Args:
        code: The code that was exchanged, 1006 for a connection that broke.
        reason: The reason beside it.
    """

    code: int
    reason: str = ""


class Conversation:
    """A conversation over one WebSocket, used as an asynchronous context manager.

    Every step has the time-out, and a step that goes wrong fails with the whole conversation so far.

    Args:
        connection: The connection, not yet entered.
        timeout: Seconds for each step.
    """

    def __init__(self, connection: Connection, *, timeout: float = DEADLINE_SECONDS) -> None:
        self.connection = connection
        self.timeout = timeout
        self.transcript: list[str] = []

    async def __aenter__(self) -> Self:
        await self.connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.connection.__aexit__(kind, error, trace)

    @property
    def session_id(self) -> str | None:
        """The session, as the server's 101 said."""
        return self.connection.session_id

    async def send(self, message: str | bytes) -> None:
        """Send *message*, a text (``str``) or a binary one (``bytes``)."""
        self._note(">", message)
        await self.connection.send(message)

    async def send_json(self, value: Any) -> None:
        """Send *value* as JSON in a text message."""
        await self.send(json.dumps(value))

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            AssertionError: If none comes within the time-out, or the connection ends instead.
        """
        try:
            message = await self.connection.receive(self.timeout)
        except DeadlineError:
            raise self._failure(f"no message came within {self.timeout:g} s") from None
        except ConnectionClosedError as closed:
            self._note("<", f"close {closed.code} {closed.reason}".rstrip())
            raise self._failure("a message was expected, but the connection ended") from None
        self._note("<", message)
        return message

    async def receive_json(self) -> Any:
        """The next message, read as JSON.

        Raises:
            AssertionError: As for `receive`, or if it is not JSON.
        """
        message = await self.receive()
        try:
            return json.loads(message)
        except ValueError:
            raise self._failure("the message is not JSON") from None

    async def say(self, message: str | bytes) -> str | bytes:
        """Send *message* and return the next one that comes."""
        await self.send(message)
        return await self.receive()

    async def say_json(self, value: Any) -> Any:
        """Send *value* as JSON and return the next message, read as JSON."""
        await self.send_json(value)
        return await self.receive_json()

    async def expect(self, *messages: str | bytes) -> None:
        """Receive exactly *messages*, in this order.

        Raises:
            AssertionError: If another comes, or none.
        """
        for message in messages:
            if await self.receive() != message:
                raise self._failure(f"{_shown(message)} was expected")

    async def expect_json(self, *values: Any) -> None:
        """Receive exactly *values* as JSON, in this order.

        Raises:
            AssertionError: If another comes, or none.
        """
        for value in values:
            if await self.receive_json() != value:
                raise self._failure(f"{_shown(json.dumps(value))} was expected")

    async def closed(self) -> Close:
        """Wait until the server has ended the connection, and say how.

        Raises:
            AssertionError: If a message comes instead, or nothing within the time-out.
        """
        try:
            message = await self.connection.receive(self.timeout)
        except ConnectionClosedError as closed:
            return Close(closed.code, closed.reason)
        except DeadlineError:
            raise self._failure(f"the connection did not end within {self.timeout:g} s") from None
        self._note("<", message)
        raise self._failure("the connection's end was expected, but a message came")

    async def close(self, code: int = 1000, reason: str = "") -> Close:
        """Close from this side with *code* and *reason*, and say how the server answered."""
        self._note(">", f"close {code} {reason}".rstrip())
        await self.connection.close(code, reason)
        return Close(self.connection.close_code or 1006, self.connection.close_reason)

    def vanish(self) -> None:
        """Cut the connection without a word, as a client does that loses its network."""
        self._note(">", "vanishes")
        self.connection.abort()

    def _note(self, direction: str, message: str | bytes) -> None:
        self.transcript.append(f"{direction} {_shown(message)}")

    def _failure(self, words: str) -> AssertionError:
        return AssertionError("\n  ".join([f"{words}; the conversation so far:", *self.transcript]))


def _shown(message: str | bytes) -> str:
    text = repr(message)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(message)} in all)"
