"""The agent that the lifecycle tests run as a process: it does what the request's body says."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler, InvocationsServer


class ObedientHandler(InvocationHandler):
    """``sleep SECONDS``, ``block SECONDS``, ``stream SECONDS``, ``forever``, or an echo."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        word, _, value = (await request.text()).partition(" ")
        if word == "sleep":
            await asyncio.sleep(float(value))
        if word == "stream":
            return self._stream(float(value))
        if word == "forever":
            print("handler started", flush=True)
            await asyncio.Event().wait()
        if word == "wind-down":
            await context.shutting_down.wait()
            return "wound down"
        if word == "block":
            time.sleep(float(value))  # noqa: ASYNC251 - what a careless handler does
        if word == "busy":
            end = time.monotonic() + float(value)
            while time.monotonic() < end:
                await asyncio.sleep(0)
        return f"{word} done"

    async def _stream(self, seconds: float) -> AsyncIterator[str]:
        yield "first "
        await asyncio.sleep(seconds)
        yield "last"


async def farewell() -> None:
    print("shutdown hook ran", flush=True)


def configure(builder: AgentHostBuilder) -> None:
    builder.configure_shutdown(hook=farewell, delay=float(os.environ.get("DELAY", "0")))


if __name__ == "__main__":
    InvocationsServer.run(ObedientHandler, configure=configure)
