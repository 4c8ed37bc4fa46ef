"""An agent that streams its answer: over actions on a WebSocket, and over server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from agentserver import (
    ActionContext,
    BadRequestError,
    InvocationActionHandler,
    InvocationContext,
    InvocationsServer,
    ServerSentEvent,
)


async def answer(prompt: str) -> AsyncIterator[str]:
    """Stand in for the model."""
    yield "You asked:"
    for word in f"{prompt} And the answer takes a while to tell.".split():
        await asyncio.sleep(0.03)
        yield f" {word}"


class StreamingHandler(InvocationActionHandler):
    """One answer, two ways to get it."""

    async def invoke(
        self, payload: Mapping[str, Any], context: ActionContext
    ) -> AsyncIterator[dict[str, str]]:
        """Answer the action ``invoke``."""
        prompt = payload.get("prompt")
        if not isinstance(prompt, str):
            raise BadRequestError('Send a payload like {"prompt": "Why?"}')
        async for token in answer(prompt):
            yield {"token": token}

    async def handle(
        self, request: web.Request, context: InvocationContext
    ) -> AsyncIterator[ServerSentEvent]:
        """Answer ``POST /invocations``."""
        async for token in answer(await request.text()):
            yield ServerSentEvent(token, event="token")
        yield ServerSentEvent("[DONE]")


if __name__ == "__main__":
    InvocationsServer.run(StreamingHandler)
