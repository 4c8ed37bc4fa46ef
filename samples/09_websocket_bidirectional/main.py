"""An agent that talks while it listens: many prompts on one WebSocket, each answered token by token."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agentserver import InvocationContext, InvocationsServer, InvocationWebSocketHandler


async def generate(prompt: str) -> AsyncIterator[str]:
    """Stand in for a model that streams its answer."""
    for word in f"You asked: {prompt} And the answer takes a while to tell.".split():
        await asyncio.sleep(0.05)
        yield word


class ConversationHandler(InvocationWebSocketHandler):
    """Answers each prompt in a task of its own, so that a cancel is heard while answers stream."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Task[None]] = {}

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Serve one connection until the client says bye or closes it."""
        await websocket.send_json({"type": "ready"})
        try:
            async for message in websocket:
                if not await self._take(websocket, message.data):
                    break
        finally:
            await self._cancel(*self._answers)

    async def _take(self, websocket: web.WebSocketResponse, text: str) -> bool:
        """Do what a message says; whether to go on."""
        match parse(text):
            case {"type": "prompt", "id": str(name), "text": str(prompt)} if name not in self._answers:
                self._answers[name] = asyncio.create_task(self._answer(websocket, name, prompt))
            case {"type": "cancel", "id": str(name)}:
                await self._cancel(name)
            case {"type": "bye"}:
                return False
            case _:
                await websocket.send_json({"type": "error", "message": "send a prompt, a cancel or a bye"})
        return True

    async def _answer(self, websocket: web.WebSocketResponse, name: str, prompt: str) -> None:
        try:
            async for token in generate(prompt):
                await websocket.send_json({"type": "token", "id": name, "token": token})
            await websocket.send_json({"type": "done", "id": name})
        except asyncio.CancelledError:
            if not websocket.closed:
                await websocket.send_json({"type": "cancelled", "id": name})
        except ConnectionError:
            pass  # the client has gone; the loop above ends, too
        finally:
            del self._answers[name]

    async def _cancel(self, *names: str) -> None:
        tasks = [self._answers[name] for name in names if name in self._answers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def parse(text: Any) -> Any:
    """A message's JSON; ``None`` if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


if __name__ == "__main__":
    InvocationsServer.run(ConversationHandler)
