"""An agent that talks while it listens: many prompts on one WebSocket, each answered token by token."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

from agentserver import InvocationContext, InvocationsServer, InvocationWebSocketHandler, TypedWebSocket
from msgspec import Struct


class Prompt(Struct, tag="prompt"):
    """Starts an answer."""

    id: str
    text: str


class Cancel(Struct, tag="cancel"):
    """Stops one."""

    id: str


class Bye(Struct, tag="bye"):
    """Ends the conversation."""


class Ready(Struct, tag="ready"):
    """Comes first, once."""


class Token(Struct, tag="token"):
    """A piece of an answer."""

    id: str
    token: str


class Done(Struct, tag="done"):
    """The end of an answer."""

    id: str


class Cancelled(Struct, tag="cancelled"):
    """The end of an answer that was stopped."""

    id: str


class Busy(Struct, tag="busy"):
    """An answer of that id is under way."""

    id: str


Told: TypeAlias = Prompt | Cancel | Bye
Said: TypeAlias = Ready | Token | Done | Cancelled | Busy


async def generate(prompt: str) -> AsyncIterator[str]:
    """Stand in for a model that streams its answer."""
    for word in f"You asked: {prompt} And the answer takes a while to tell.".split():
        await asyncio.sleep(0.05)
        yield word


class ConversationHandler(InvocationWebSocketHandler[Told, Said]):
    """Answers each prompt in a task of its own, so that a cancel is heard while answers stream."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Task[None]] = {}

    async def handle_websocket(
        self, websocket: TypedWebSocket[Told, Said], context: InvocationContext
    ) -> None:
        """Serve one connection until the client says bye or closes it."""
        await websocket.send(Ready())
        try:
            async for message in websocket:
                match message:
                    case Prompt(id=name) if name in self._answers:
                        await websocket.send(Busy(name))
                    case Prompt(id=name, text=prompt):
                        self._answers[name] = asyncio.create_task(self._answer(websocket, name, prompt))
                    case Cancel(id=name):
                        await self._cancel(name)
                    case Bye():
                        break
        finally:
            await self._cancel(*self._answers)

    async def _answer(self, websocket: TypedWebSocket[Told, Said], name: str, prompt: str) -> None:
        try:
            async for token in generate(prompt):
                await websocket.send(Token(name, token))
            await websocket.send(Done(name))
        except asyncio.CancelledError:
            if not websocket.raw.closed:
                await websocket.send(Cancelled(name))
        except ConnectionError:
            pass  # the client has gone; the loop above ends, too
        finally:
            del self._answers[name]

    async def _cancel(self, *names: str) -> None:
        tasks = [self._answers[name] for name in names if name in self._answers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    InvocationsServer.run(ConversationHandler)
