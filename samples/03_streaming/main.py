"""An agent that streams its answer word by word, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator

from agentserver import InvocationContext, InvocationHandler, InvocationsServer, ServerSentEvent
from aiohttp import web


class StreamingHandler(InvocationHandler):
    """Yields one event a word; the connection is kept alive while the model thinks."""

    async def handle(
        self, request: web.Request, context: InvocationContext
    ) -> AsyncIterator[ServerSentEvent]:
        """Answer ``POST /invocations`` with a ``text/event-stream``."""
        words = (await request.text()).split()
        for number, word in enumerate(words):
            await asyncio.sleep(0.02)  # stands in for the model
            yield ServerSentEvent(word.upper(), event="token", id=str(number))
        yield ServerSentEvent("[DONE]")


if __name__ == "__main__":
    InvocationsServer.run(StreamingHandler)
