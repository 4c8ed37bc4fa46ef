"""What the tests of traces develop: an agent whose model calls a tool, and what its clock said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from opentelemetry import trace

from agentserver import InvocationContext, InvocationHandler, InvocationsServer

tracer = trace.get_tracer("planner")


class PlannerHandler(InvocationHandler):
    """Asks the model, calls its tool, asks again; ``fail`` has the tool fail, ``hang`` never ends."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        self.times: dict[str, list[int]] = {}
        word = await request.text()
        if word.startswith("odd"):
            odd: dict[str, Any] = {"list": ["a", "b"], "float": 1.5, "truth": True, word: 2**70}
            odd["long"] = "x" * len(word) * 1000
            with tracer.start_as_current_span(word, attributes=odd):
                return "odd"
        with self.span("plan"):
            with self.span("chat gpt", **{"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt"}):
                await asyncio.sleep(0.03)
                if word == "hang":
                    await asyncio.sleep(3600)
                with self.span("execute_tool weather", **{"gen_ai.tool.name": "weather"}):
                    await asyncio.sleep(0.02)
                    if word == "fail":
                        raise LookupError("no <b>weather</b>")
            await asyncio.sleep(0.01)
        return web.json_response(self.times)

    @contextmanager
    def span(self, name: str, **attributes: str) -> Generator[None, None, None]:
        """A span, and what the clock says before and behind its beginning, and its end."""
        clock = [time.time_ns()]
        with tracer.start_as_current_span(name, attributes=attributes):
            clock.append(time.time_ns())
            yield
            clock.append(time.time_ns())
        self.times[name] = [*clock, time.time_ns()]


if __name__ == "__main__":
    InvocationsServer.run(PlannerHandler)
