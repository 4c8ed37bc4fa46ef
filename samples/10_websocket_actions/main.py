"""An agent that streams its answer: over actions on a WebSocket, and over server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationContext,
    InvocationsServer,
    ServerSentEvent,
)
from aiohttp import web
from msgspec import Meta


@dataclass
class Question:
    """The payload of an action."""

    prompt: Annotated[str, Meta(examples=["Why?"])]


@dataclass
class Token:
    """A piece of the answer."""

    token: str


async def answer(prompt: str) -> AsyncIterator[str]:
    """Stand in for the model."""
    yield "You asked:"
    for word in f"{prompt} And the answer takes a while to tell.".split():
        await asyncio.sleep(0.03)
        yield f" {word}"


class StreamingHandler(InvocationActionHandler[Question, Token]):
    """One answer, two ways to get it."""

    async def invoke(self, payload: Question, context: ActionContext) -> AsyncIterator[Token]:
        """Answer the action ``invoke``."""
        async for token in answer(payload.prompt):
            yield Token(token)

    async def handle(
        self, request: web.Request, context: InvocationContext
    ) -> AsyncIterator[ServerSentEvent]:
        """Answer ``POST /invocations``."""
        async for token in answer(await request.text()):
            yield ServerSentEvent(token, event="token")
        yield ServerSentEvent("[DONE]")


if __name__ == "__main__":
    InvocationsServer.run(StreamingHandler)
