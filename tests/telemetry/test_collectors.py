"""A collector that is down, slow or talks nonsense hurts neither a request nor the end of the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.servers import free_port, running
from tests.telemetry.conftest import AGENT, SOON, observing

FLUSH_BOUND = 5.0


async def _nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1 << 20)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnonsense!")
    await writer.drain()
    writer.close()


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 20):
        pass
    writer.close()


@asynccontextmanager
async def collector(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None,
) -> AsyncGenerator[str, None]:
    """A bad collector; without *serve* nobody listens."""
    if serve is None:
        yield f"http://127.0.0.1:{free_port()}"
        return
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("protocol", "serve"),
    [("http/protobuf", None), ("grpc", None), ("http/protobuf", _nonsense), ("grpc", _silence)],
    ids=["down over http", "down over grpc", "nonsense over http", "silent over grpc"],
)
async def test_a_bad_collector_delays_no_request_and_the_end_only_within_the_bound(
    protocol: str, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None
) -> None:
    async with collector(serve) as endpoint:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            **SOON,
        }
        async with running(*AGENT, environment=variables) as server:
            async with aiohttp.ClientSession(server.url) as client:
                for _ in range(20):
                    begun = time.perf_counter()
                    async with client.post("/invocations", data="child") as response:
                        assert response.status == 200
                    assert time.perf_counter() - begun < 2
            begun = time.perf_counter()
            server.terminate()
            assert await server.exit_code() == 0
            assert time.perf_counter() - begun < FLUSH_BOUND + 3
    assert "Traceback" not in "".join(server.log)
    loggers = [line.split()[3] for line in server.log if " opentelemetry." in line]
    assert len(loggers) == len(set(loggers)), "a logger repeats itself"


async def test_everything_is_flushed_at_shutdown() -> None:
    async with observing(
        OTEL_BSP_SCHEDULE_DELAY="60000",
        OTEL_BLRP_SCHEDULE_DELAY="60000",
        OTEL_METRIC_EXPORT_INTERVAL="60000",
    ) as seen:
        for _ in range(50):
            await seen.invoke("child")
        assert not seen.received.raw
        await seen.stop()
        assert len([s for s in seen.received.spans if s.scope == "agentserver"]) == 50
        assert len([r for r in seen.received.records if r.body == "thought hard"]) == 50
        assert seen.received.metric("http.server.request.duration")[-1].count == 50


async def test_headers_and_compression_of_the_variables_reach_the_collector() -> None:
    async with observing(
        OTEL_EXPORTER_OTLP_HEADERS="x-team=blue", OTEL_EXPORTER_OTLP_COMPRESSION="gzip"
    ) as seen:
        await seen.invoke("plain")
        await seen.received.span("invoke_agent weather:7")
    assert seen.received.headers[0]["x-team"] == "blue"
    assert seen.received.headers[0]["content-encoding"] == "gzip"
