"""OpenTelemetry's providers are the process's: a host that ends leaves them to those beside and after it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from agentserver.testing import until
from tests.servers import free_port, running
from tests.telemetry.conftest import NAMED, SOON, observing
from tests.telemetry.receiver import Received

HEAD = """
import asyncio
import logging
import os
import signal

import aiohttp
from opentelemetry import trace

from agentserver import AgentHost, InvocationHandler, InvocationsServer

logger = logging.getLogger("agent")
logging.basicConfig(level=logging.INFO)


class Handler(InvocationHandler):
    async def handle(self, request, context):
        word = await request.text()
        logger.info("asked for %s", word)
        with trace.get_tracer("agent").start_as_current_span(word):
            return word


def build():
    return AgentHost.create_builder().configure(port=0, host="127.0.0.1").add_invocations(Handler).build()


async def ask(host, word):
    async with aiohttp.ClientSession() as client:
        async with client.post(f"http://127.0.0.1:{host.port}/invocations", data=word) as answer:
            assert await answer.text() == word

"""
AT_ONCE = """
async def main():
    async with build() as one:
        async with build() as other:
            await asyncio.gather(ask(one, "first"), ask(other, "second"))
        await ask(one, "third")
    with trace.get_tracer("agent").start_as_current_span("after all"):
        pass

asyncio.run(main())
"""
ONE_AFTER_ANOTHER = """
async def main(word):
    async with build() as host:
        await ask(host, word)

for word in ("first", "second", "third"):
    asyncio.run(main(word))
with trace.get_tracer("agent").start_as_current_span("after all"):
    pass
"""
# Once at the end and no sooner, so that nothing is there by chance.
LATE = {
    "OTEL_BSP_SCHEDULE_DELAY": "60000",
    "OTEL_BLRP_SCHEDULE_DELAY": "60000",
    "OTEL_METRIC_EXPORT_INTERVAL": "60000",
}
WORDS = ["first", "second", "third"]


def sum_of(received: Received, name: str) -> float:
    """The newest count of each combination of attributes, together."""
    newest = {str(point.attributes): point.count for point in received.metric(name)}
    return sum(newest.values())


@pytest.mark.parametrize(
    "program",
    [ONE_AFTER_ANOTHER, AT_ONCE],
    ids=["one after another", "at once"],
)
async def test_every_host_of_a_process_exports_all_it_has(program: str, tmp_path: Path) -> None:
    file = tmp_path / "main.py"
    file.write_text(HEAD + program)
    async with observing(program=file, **LATE, PORT=str(free_port())) as seen:
        assert await seen.server.exit_code() == 0
        log = "".join(seen.server.log)
        received = seen.received
    assert sorted(span.name for span in received.spans if span.scope == "agent") == ["after all", *WORDS]
    spans = [span for span in received.spans if span.scope == "agentserver"]
    assert [span.name for span in spans] == ["invoke_agent weather:7"] * 3
    bodies = [record.body for record in received.records if str(record.body).startswith("asked")]
    assert sorted(bodies) == [f"asked for {word}" for word in WORDS], "each record is exported once"
    assert sum_of(received, "http.server.request.duration") == 3
    assert "WARNING" not in log
    assert "opentelemetry" not in log


async def test_hosts_at_once_are_counted_together(tmp_path: Path) -> None:
    program = """
async def main():
    async with build() as one, build() as other:
        async with aiohttp.ClientSession() as client:
            urls = [f"http://127.0.0.1:{host.port}/invocations_ws" for host in (one, other)]
            sockets = [await client.ws_connect(url) for url in urls]
            for socket in sockets:
                await socket.send_str("hello")
                await socket.receive_str()
            await asyncio.sleep(0.4)
            for socket in sockets:
                await socket.close()

asyncio.run(main())
"""
    handler = """
from agentserver import InvocationWebSocketHandler


class Handler(InvocationWebSocketHandler):
    async def handle_websocket(self, websocket, context):
        async for message in websocket:
            await websocket.send_str(message.data)
"""
    file = tmp_path / "main.py"
    file.write_text(HEAD + handler + program)
    async with observing(program=file, PORT=str(free_port())) as seen:
        assert await seen.server.exit_code() == 0
        received = seen.received
    assert max(point.value for point in received.metric("agentserver.websocket.active_connections")) == 2
    assert [point.value for point in received.metric("agentserver.websocket.active_connections")][-1] == 0
    assert max(point.value for point in received.metric("agentserver.websocket.messages")) == 2


async def test_a_server_that_is_run_again_in_the_same_process_exports_again(tmp_path: Path) -> None:
    file = tmp_path / "main.py"
    file.write_text(HEAD + "InvocationsServer.run(Handler)\nInvocationsServer.run(Handler)\n")
    async with observing(program=file, **LATE) as seen:
        await seen.invoke("first")
        seen.server.terminate()
        await seen.received.span("first")
        await until(lambda: "".join(seen.server.log).count("listening on port") == 2, what="the second start")
        await seen.invoke("second")
        await seen.stop()
        await seen.received.span("second")
    assert sum_of(seen.received, "http.server.request.duration") == 2


async def test_a_collector_that_does_not_answer_delays_the_end_once_and_within_the_bound(
    tmp_path: Path,
) -> None:
    file = tmp_path / "main.py"
    file.write_text(HEAD + "InvocationsServer.run(Handler)\n")

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1 << 20):
            pass
        writer.close()

    collector = await asyncio.start_server(silence, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{collector.sockets[0].getsockname()[1]}"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **SOON, **NAMED}
    async with running(file, environment=variables) as server:
        async with (
            aiohttp.ClientSession(server.url) as client,
            client.post("/invocations", data="x") as answer,
        ):
            assert answer.status == 200
        begun = time.perf_counter()
        server.terminate()
        assert await server.exit_code() == 0
        assert time.perf_counter() - begun < 5 + 3
    collector.close()
    assert "telemetry was not flushed within 5 s" in "".join(server.log)
