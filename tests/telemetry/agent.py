"""The agent that the telemetry tests run as a process: it makes spans and log records of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Any

from aiohttp import web

from agentserver import (
    ActionContext,
    AgentHostBuilder,
    BadRequestError,
    Durable,
    InvocationActionHandler,
    InvocationContext,
    InvocationHandler,
    InvocationsServer,
    InvocationWebSocketHandler,
    Run,
    client_session,
)

logger = logging.getLogger("agent")


class ObservedHandler(InvocationHandler):
    """Does what the request's body says: the name of a method, and an argument for it."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        word, _, argument = (await request.text()).partition(" ")
        result = getattr(self, word)
        return await (result(argument) if argument else result())

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return "got"

    async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return "cancelled"

    async def plain(self) -> Any:
        return "plain"

    async def child(self) -> Any:
        from opentelemetry import baggage, trace

        with trace.get_tracer("agent").start_as_current_span("thinking"):
            await asyncio.create_task(self._in_a_task())
            logger.info("thought %s", "hard", extra={"steps": 3, "model": "none"})
        return dict(baggage.get_all())

    async def _in_a_task(self) -> None:
        from opentelemetry import trace

        with trace.get_tracer("agent").start_as_current_span("in a task"):
            await asyncio.sleep(0)

    async def stream(self) -> Any:
        return self._words()

    async def _words(self) -> AsyncIterator[str]:
        from opentelemetry import trace

        yield "first "
        with trace.get_tracer("agent").start_as_current_span("between words"):
            await asyncio.sleep(0.05)
        yield "last"

    async def cut(self) -> Any:
        return self._broken()

    async def _broken(self) -> AsyncIterator[str]:
        yield "first"
        raise RuntimeError("broke in the middle")

    async def fail(self) -> Any:
        raise ValueError("the model said no")

    async def refuse(self) -> Any:
        raise BadRequestError("ask better")

    async def call(self, url: str) -> Any:
        headers = {"x-agent-user-id": "u-1"}
        async with client_session() as session, session.get(url, headers=headers) as response:
            return await response.json()

    async def describe(self) -> Any:
        from opentelemetry import trace

        link = trace.Link(trace.SpanContext(1, 2, is_remote=True), {"why": "batch"})
        odd: dict[Any, Any] = {
            "colour": Colour.RED,
            "level": Level.HIGH,
            "bytes": b"abc",
            "none": None,
            "dict": {"a": 1},
            "list": [1, 2],
            "big": 1 << 70,
            "surrogate": "\ud800",
            "object": object(),
            7: "seven",
        }
        span = trace.get_current_span()
        span.set_attributes({"before": 1, **odd, "after": 2})
        span.add_link(link.context, link.attributes)
        span.add_event("happened", {**odd, "after": 2})
        logger.info("described", extra={key: value for key, value in odd.items() if key != 7})
        with trace.get_tracer("agent").start_as_current_span("child", links=[link]):
            return "described"

    async def leave(self) -> Any:
        sys.exit(3)

    async def unprintable(self) -> Any:
        raise UnprintableError

    async def surrogate(self) -> Any:
        raise ValueError("half a \ud800 character")

    async def many(self) -> Any:
        from opentelemetry import trace

        for number in range(10):
            trace.get_current_span().add_event("event", {"number": number})
        return "many"

    async def modules(self) -> Any:
        return sorted(name for name in sys.modules if name.startswith(("opentelemetry", "grpc", "google")))


class Colour(Enum):
    RED = "red"


class Level(str, Enum):
    HIGH = "high"


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class TalkingHandler(InvocationWebSocketHandler):
    """Echoes; ``raise`` raises."""

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        from opentelemetry import trace

        async for message in websocket:
            if message.data == "raise":
                raise ValueError("no")
            if message.data == "leave":
                sys.exit(3)
            with trace.get_tracer("agent").start_as_current_span("talking"):
                await websocket.send_str(message.data)


class ActingHandler(InvocationActionHandler):
    """Streams, with a span of its own."""

    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncIterator[Any]:
        from opentelemetry import trace

        with trace.get_tracer("agent").start_as_current_span("acting"):
            logger.info("acting")
            yield {"number": 1}
        if payload.get("fail"):
            raise ValueError("no")
        if payload.get("leave"):
            sys.exit(3)


class DurableHandler(InvocationHandler, durable=Durable(backoff=0.01)):
    """Fails, waits for a signal, or is done, as it is told."""

    async def run(self, task: dict[str, Any], run: Run) -> None:
        await run.step("work", int, task.get("number", 1))
        await run.emit("worked")
        if task.get("waits"):
            await run.wait_for("go")


class Breaking:
    """A span processor that raises wherever it can."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("broken on start")

    def _on_ending(self, span: Any) -> None:
        raise RuntimeError("broken on ending")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("broken on end")

    def shutdown(self) -> None:
        raise RuntimeError("broken at shutdown")

    def force_flush(self, timeout_millis: int = 0) -> bool:
        raise RuntimeError("broken at flush")


def _set_provider(*processors: Any) -> None:
    """What an agent does that exports by itself: print each span's name, parent and attributes."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(
        SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda s: f"{s.to_json(None)}\n"))
    )
    for processor in processors:
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)


def configure(builder: AgentHostBuilder) -> None:
    word = os.environ.get("AGENT", "")
    if word == "without framework spans":
        builder.configure_tracing(framework_spans=False)
    elif word == "broken processor":
        breaking: Any = Breaking()
        builder.configure_tracing(lambda provider: provider.add_span_processor(breaking))
    elif word == "own provider":
        _set_provider()
    elif word == "own provider with a broken processor":
        _set_provider(Breaking())


if __name__ == "__main__":
    handlers = {"websocket": TalkingHandler, "actions": ActingHandler, "durable": DurableHandler}
    InvocationsServer.run(handlers.get(os.environ.get("AGENT", ""), ObservedHandler), configure=configure)
