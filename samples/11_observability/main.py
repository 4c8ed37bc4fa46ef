"""Spans and a metric of one's own: children of the framework's span, on whatever is set up to export them."""

import asyncio
import logging
from collections.abc import AsyncIterator

from agentserver import InvocationContext, InvocationHandler, InvocationsServer
from aiohttp import web
from opentelemetry import metrics, trace

tracer = trace.get_tracer("planner")
meter = metrics.get_meter("planner")
words_written = meter.create_counter("planner.words", unit="{word}", description="Words sent to callers")
logger = logging.getLogger("planner")


class PlannerHandler(InvocationHandler):
    """Plans a day: looks two things up side by side, then writes word by word."""

    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[str]:
        """Answer ``POST /invocations``."""
        city = (await request.text()).strip() or "Paris"
        with tracer.start_as_current_span("look up"):
            weather, museum = await asyncio.gather(self._weather(city), self._museum(city))
        logger.info("found what to do", extra={"city": city})
        with tracer.start_as_current_span("write") as span:
            words = f"In {city} it is {weather}: visit the {museum}.\n".split(" ")
            for number, word in enumerate(words):
                yield word if number == 0 else f" {word}"
                words_written.add(1, {"city": city})
            span.set_attribute("planner.words", len(words))

    async def _weather(self, city: str) -> str:
        with tracer.start_as_current_span("weather", attributes={"planner.city": city}):
            await asyncio.sleep(0.02)
            return "sunny"

    async def _museum(self, city: str) -> str:
        with tracer.start_as_current_span("museum", attributes={"planner.city": city}):
            await asyncio.sleep(0.03)
            return "museum of clocks"


if __name__ == "__main__":
    InvocationsServer.run(PlannerHandler)
