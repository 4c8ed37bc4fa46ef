"""What the tests of accessibility develop, and the pictures show: a bit of everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta
from opentelemetry import trace

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationContext,
    InvocationHandler,
    InvocationsServer,
)

tracer = trace.get_tracer("agent")
logger = logging.getLogger("agent")


@dataclass
class Question:
    """What to ask."""

    message: Annotated[
        str, Meta(min_length=1, examples=["Where to go in Paris?"], description="The question.")
    ]
    times: Annotated[int, Meta(ge=1, le=3, description="How many answers.")] = 1
    language: Literal["en", "fr"] = "en"


@dataclass
class Delta:
    """A piece of the answer."""

    text: str


class Guide(InvocationActionHandler, InvocationHandler[Question, Delta]):
    """Says where to go: asks a model, which calls a tool."""

    async def handle(self, request: Any, context: InvocationContext) -> AsyncIterator[Delta]:
        """Answer with events."""
        question: Question = request
        logger.info("asked in %s", question.language)
        with tracer.start_as_current_span("chat gpt", attributes={"gen_ai.request.model": "gpt"}):
            await asyncio.sleep(0.04)
            with tracer.start_as_current_span("execute_tool weather"):
                await asyncio.sleep(0.03)
            await asyncio.sleep(0.02)
        for word in ("Sunny:", " see", " the", " clocks."):
            yield Delta(word)
            await asyncio.sleep(0.02)

    async def invoke(
        self, payload: Mapping[str, Any], context: ActionContext
    ) -> AsyncIterator[dict[str, Any]]:
        """Answer an action."""
        for number in range(3):
            yield {"number": number}
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    InvocationsServer.run(Guide)
