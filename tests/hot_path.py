"""Counts what one POST costs in a process of its own, and prints the counts as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import statistics
import sys
import traceback
from types import FrameType
from typing import Any

from aiohttp import web

import agentserver
from agentserver import AgentHost, InvocationContext, InvocationHandler
from agentserver._http.connection import HostConnection
from agentserver._telemetry.logging import configure_logging
from agentserver.environment import FoundryEnvironment

BODY = b"x" * 64
POST = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 64\r\n\r\n" + BODY
ROUNDS = 21
PACKAGE = os.path.join(os.path.dirname(agentserver.__file__), "")


class Echo(InvocationHandler):
    """The handler; it remembers who called it."""

    callers: tuple[str, ...] = ()

    async def handle(self, request: web.Request, context: InvocationContext) -> web.Response:
        frames = traceback.walk_stack(sys._getframe(0))
        Echo.callers = tuple(frame.f_code.co_name for frame, _ in frames if is_ours(frame))[::-1]
        return web.Response(body=await request.read())


class Wire(asyncio.Transport):
    """A transport that counts responses."""

    responses = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert bytes(data).startswith(b"HTTP/1.1 200 OK")
        assert bytes(data).endswith(BODY)
        self.responses += 1

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Counter:
    """Counts the interpreter's instructions in the files of the package, and in no others."""

    def __init__(self) -> None:
        self.instructions = 0

    def __enter__(self) -> Counter:
        sys.settrace(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _entered(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._happened

    def _happened(self, frame: FrameType, event: str, argument: object) -> Any:
        self.instructions += event == "opcode"
        return self._happened


def is_ours(frame: FrameType) -> bool:
    """Whether *frame* runs the package."""
    return str(frame.f_globals.get("__name__")).startswith("agentserver.")


def observe(host: AgentHost) -> None:
    """Have *host* make spans and metrics as it does when it exports, without sending them."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider

    from agentserver._telemetry.opentelemetry_observer import make_observer

    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
    host._pipeline.observer = make_observer(FoundryEnvironment.read({}), {}, spans=True)


async def count(*, request_logging: bool, observed: bool = False) -> int:
    """The instructions of one POST."""
    builder = AgentHost.create_builder(FoundryEnvironment.read({}))
    builder.configure(request_logging=request_logging).add_invocations(Echo)
    host = builder.build()
    if observed:
        observe(host)
    await host.start(listen=False)
    assert host._server is not None
    connection = host._server()
    assert isinstance(connection, HostConnection)
    wire = Wire()
    connection.connection_made(wire)
    counts: list[int] = []
    for _ in range(ROUNDS):
        before = wire.responses
        with Counter() as counter:
            connection.data_received(POST)
            while wire.responses == before or connection.idle_since is None:
                await asyncio.sleep(0)
        counts.append(counter.instructions)
    connection.connection_lost(None)
    await host.stop()
    return int(statistics.median(counts))


async def main() -> None:
    """Print the counts."""
    configure_logging(FoundryEnvironment.read({}))
    quiet = await count(request_logging=False)
    logged = await count(request_logging=True)
    assert len(logging.getLogger().handlers) == 1
    modules = sorted(name for name in sys.modules if not name.startswith("_"))
    exported = await count(request_logging=True, observed=True)
    counts = {"quiet": quiet, "logged": logged, "exported": exported}
    print(json.dumps({**counts, "callers": Echo.callers, "modules": modules}))


asyncio.run(main())
