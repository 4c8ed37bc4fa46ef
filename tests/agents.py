"""The agent that the lifecycle tests run as a process: it does what the request's body says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationsServer, InvocationWebSocketHandler


class ObedientHandler(InvocationWebSocketHandler):
    """Does what the first word of the body says, see the methods ``on_...``; any other word is echoed."""

    started = 0
    kept: asyncio.Task[None]

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        word, _, value = (await request.text()).partition(" ")
        ObedientHandler.started += word != "count"
        method = getattr(self, f"on_{word.replace('-', '_')}", None)
        result = None if method is None else await method(value, context)
        return f"{word} done" if result is None else result

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        ObedientHandler.started += 1
        async for message in websocket:
            await websocket.send_str(message.data)

    async def on_count(self, _value: str, _context: InvocationContext) -> str:
        return str(ObedientHandler.started)

    async def on_sleep(self, seconds: str, _context: InvocationContext) -> None:
        await asyncio.sleep(float(seconds))

    async def on_block(self, seconds: str, _context: InvocationContext) -> None:
        print("blocking", file=sys.stderr, flush=True)
        time.sleep(float(seconds))  # noqa: ASYNC251 - what a careless handler does

    async def on_thread(self, seconds: str, _context: InvocationContext) -> None:
        await asyncio.to_thread(time.sleep, float(seconds))

    async def on_busy(self, seconds: str, _context: InvocationContext) -> None:
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            await asyncio.sleep(0)

    async def on_forever(self, _value: str, _context: InvocationContext) -> None:
        print("handler started", flush=True)
        await asyncio.Event().wait()

    async def on_stubborn(self, _value: str, _context: InvocationContext) -> None:
        print("stubborn", file=sys.stderr, flush=True)
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def on_leave_task(self, kind: str, _context: InvocationContext) -> None:
        ObedientHandler.kept = asyncio.create_task(self._task(kind))

    async def on_spawn(self, kind: str, context: InvocationContext) -> None:
        ObedientHandler.kept = context.spawn(self._task(kind), name=f"{kind} work")

    async def _task(self, kind: str) -> None:
        print("task started", file=sys.stderr, flush=True)
        try:
            await asyncio.sleep(1.0 if kind == "short" else 1000)
            print("task done", file=sys.stderr, flush=True)
        finally:
            await asyncio.sleep(0)
            print("task cleaned up", file=sys.stderr, flush=True)
            if kind == "failing":
                raise RuntimeError("it failed while it cleaned up")

    async def on_wind_down(self, _value: str, context: InvocationContext) -> str:
        await context.shutting_down.wait()
        return "wound down"

    async def on_stream(self, seconds: str, _context: InvocationContext) -> AsyncIterator[str]:
        return self._stream(asyncio.sleep(float(seconds)))

    async def on_stream_wind_down(self, _value: str, context: InvocationContext) -> AsyncIterator[str]:
        return self._stream(context.shutting_down.wait())

    async def _stream(self, pause: Awaitable[object]) -> AsyncIterator[str]:
        yield "first "
        await pause
        yield "last"


async def farewell() -> None:
    print("shutdown hook ran", flush=True)


async def slow_start() -> None:
    print("starting", file=sys.stderr, flush=True)
    await asyncio.sleep(float(os.environ["SLOW_START"]))


def configure(builder: AgentHostBuilder) -> None:
    builder.configure_shutdown(hook=farewell, delay=float(os.environ.get("DELAY", "0")))
    if "SLOW_START" in os.environ:
        builder.on_startup(slow_start)


if __name__ == "__main__":
    InvocationsServer.run(ObedientHandler, configure=configure)
