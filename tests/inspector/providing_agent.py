"""An agent that sets a tracer provider of its own, when and how ``PROVIDER`` says."""

from __future__ import annotations

import os
import sys
from typing import Any

from aiohttp import web
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentserver import (
    AgentHostBuilder,
    InvocationContext,
    InvocationHandler,
    InvocationsServer,
    map_invocations_server,
)

HOW = os.environ.get("PROVIDER", "")
own = InMemorySpanExporter()
tracer = trace.get_tracer("agent")


class NoneOfTheSdks(trace.NoOpTracerProvider):
    """A provider without processors."""


class Providing(InvocationHandler):
    """Makes a span, and tells of those that its own provider has exported so far."""

    async def handle(self, request: web.Request, context: InvocationContext) -> dict[str, Any]:
        """Answer with the names."""
        with tracer.start_as_current_span("think"):
            pass
        return {
            "provider": type(trace.get_tracer_provider()).__name__,
            "spans": [span.name for span in own.get_finished_spans()],
        }


def provide() -> None:
    """Set the provider."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(own))
    trace.set_tracer_provider(provider)


def warm_up() -> None:
    """Make a span before anybody calls."""
    with tracer.start_as_current_span("warm up"):
        pass


def configure(builder: AgentHostBuilder) -> None:
    """Have the host start."""
    if HOW == "in a hook":
        builder.on_startup(provide)
    builder.on_startup(warm_up)


async def provide_for_app(_: web.Application) -> None:
    """Set the provider when the application starts."""
    provide()


if HOW == "in the module":
    provide()
elif HOW == "of another kind":
    trace.set_tracer_provider(NoneOfTheSdks())

if __name__ == "__main__":
    if HOW.startswith("in an application"):
        app = web.Application()
        if HOW.endswith("of its own"):
            app.on_startup.append(provide_for_app)
        map_invocations_server(app, Providing)
        port = int(os.environ["PORT"])
        print(f"listening on http://127.0.0.1:{port}", file=sys.stderr)
        web.run_app(app, port=port, print=None)
    else:
        InvocationsServer.run(Providing, configure=configure)
