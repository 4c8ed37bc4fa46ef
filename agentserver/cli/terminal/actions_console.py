"""``agentserver connect --actions``: a console for many invocations on one WebSocket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from agentserver.cli.errors import CommandError
from agentserver.cli.json_schema import Schema
from agentserver.cli.terminal.console import Console, Word
from agentserver.cli.terminal.screen import Screen
from agentserver.client import ActionError, ClientError, ConnectionClosedError

if TYPE_CHECKING:
    from agentserver.client import ActionsConnection, ActionStream

__all__ = ["ActionsConsole"]


class ActionsConsole(Console):
    """Each line that is a JSON object is an invocation; they run side by side, numbered #1, #2 and so on.

    Args:
        actions: The connection, open.
        screen: Where things are shown.
        reconnects: Whether *actions* resumes its session when the connection breaks.
        schema: What a payload may be, if the agent says.
    """

    def __init__(
        self,
        actions: ActionsConnection,
        screen: Screen,
        *,
        reconnects: bool = False,
        schema: Schema | None = None,
    ) -> None:
        self._actions = actions
        self._tasks: set[asyncio.Task[None]] = set()
        self._ids: list[str] = []
        self._failed: ClientError | None = None
        super().__init__(screen, reconnects=reconnects, schema=schema)
        screen.event(
            "open", "connected; a JSON object is an invocation, /help says what there is, Ctrl-D ends"
        )

    def own_words(self) -> Mapping[str, Word]:
        """Gets, cancels and pings."""
        return {
            "get": Word(self._get, "ask for the state of one: /get #1, or its whole id", self._labels),
            "cancel": Word(self._cancel, "cancel one: /cancel #1, or its whole id", self._labels),
            "ping": Word(self._ping, "send a Ping frame and show how long its Pong took"),
        }

    async def line(self, text: str) -> None:
        """Invoke the agent with a JSON object."""
        try:
            payload: Any = json.loads(text)
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            raise CommandError('An invocation is a JSON object, such as {"message": "hello"}')
        stream = self._actions.stream(cast("dict[str, Any]", payload))
        self._ids.append(stream.invocation_id)
        task = asyncio.create_task(self._follow(f"#{len(self._ids)}", stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def read(self) -> ConnectionClosedError | None:
        """Wait for the end; the invocations show their answers themselves."""
        while True:
            closed = await self._actions.closed()
            await asyncio.gather(*self._tasks)
            if self.over:
                return None
            if not self.reconnects or not await self._is_back():
                return closed
            self.screen.reconnected(closed.session_id)

    async def _is_back(self) -> bool:
        """Whether another connection has followed the one that ended."""
        try:
            await self._actions.ping()
        except ConnectionClosedError:  # it was closed for good
            return False
        return True

    async def finish(self, reading: asyncio.Task[Any]) -> None:
        """Let a script's invocations end; a person's end with the connection."""
        if self._tasks and not self.over and not self.screen.interactive:
            await asyncio.wait({reading, asyncio.gather(*self._tasks)}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            self.over = True
            await self._actions.close()
            self.screen.event("close", "closed with code 1000", code=1000, reason="")
        if self._failed is not None and not self.screen.interactive:
            raise self._failed

    async def _follow(self, label: str, stream: ActionStream) -> None:
        invocation_id = stream.invocation_id
        self.screen.event("invoke", f"{label} is {invocation_id}", invocation_id=invocation_id)
        try:
            async with stream:
                async for payload in stream:
                    self.screen.payload(label, invocation_id, payload)
        except ActionError as error:
            self._failed = error
            self.screen.event(
                "error",
                f"{label} {error}",
                "red",
                invocation_id=invocation_id,
                code=error.code,
                message=error.message,
            )
        except ClientError as error:
            # Without another connection its end is shown once, for all.
            if self.reconnects:
                self._failed = error
                words = f"{label} may have run: {error}"
                self.screen.event("lost", words, "red", invocation_id=invocation_id)
        else:
            self.screen.event("end", f"{label} done", invocation_id=invocation_id)

    async def _get(self, rest: str) -> None:
        await self._ask(rest, self._actions.get)

    async def _cancel(self, rest: str) -> None:
        await self._ask(rest, self._actions.cancel)

    async def _ask(self, rest: str, ask: Any) -> None:
        label = rest.strip()
        invocation_id = self._id_of(label)
        try:
            self.screen.payload(label, invocation_id, await ask(invocation_id))
        except ActionError as error:
            raise CommandError(str(error)) from None

    def _labels(self, start: str) -> list[str]:
        labels = [f"#{number}" for number in range(1, len(self._ids) + 1)]
        return [label for label in labels if label.startswith(start)]

    def _id_of(self, label: str) -> str:
        number = label.removeprefix("#")
        if number.isascii() and number.isdigit() and 1 <= int(number) <= len(self._ids):
            return self._ids[int(number) - 1]
        if not label or label.startswith("#"):
            raise CommandError(f"There is no invocation {label or 'given'}: say #1, or a whole id")
        return label

    async def _ping(self, _rest: str) -> None:
        milliseconds = round(await self._actions.ping() * 1000, 1)
        self.screen.event("pong", f"pong after {milliseconds} ms", milliseconds=milliseconds)
