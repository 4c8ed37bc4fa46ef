"""A server process that exports to a receiver inside the test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.servers import ServerProcess, running
from tests.telemetry.receiver import Received, grpc_receiver, http_receiver

AGENT = ("-m", "tests.telemetry.agent")
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
# Exported soon, so that no test waits.
SOON = {
    "OTEL_BSP_SCHEDULE_DELAY": "50",
    "OTEL_BLRP_SCHEDULE_DELAY": "50",
    "OTEL_METRIC_EXPORT_INTERVAL": "200",
}
NAMED = {
    "FOUNDRY_AGENT_NAME": "weather",
    "FOUNDRY_AGENT_VERSION": "7",
    "FOUNDRY_PROJECT_ARM_ID": "/subscriptions/1/projects/2",
}


@dataclass
class Observed:
    """A server and what it has exported."""

    received: Received
    server: ServerProcess
    client: aiohttp.ClientSession

    async def invoke(self, body: str, **headers: str) -> tuple[int, Any]:
        """Post *body*; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.post("/invocations", data=body, headers=named) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def stop(self) -> None:
        """Stop the server, which flushes."""
        self.server.terminate()
        assert await self.server.exit_code() == 0


@asynccontextmanager
async def observing(
    protocol: str = "http/protobuf", program: Path | None = None, **variables: str
) -> AsyncGenerator[Observed, None]:
    """Run the agent, or *program*, with export over *protocol* on; *variables* besides."""
    receiver = grpc_receiver if protocol == "grpc" else http_receiver
    async with receiver() as (received, endpoint):
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            **SOON,
            **NAMED,
            **variables,
        }
        async with running(*([program] if program else AGENT), environment=environment) as server:
            async with aiohttp.ClientSession(server.url) as client:
                yield Observed(received, server, client)


@pytest.fixture
async def observed() -> AsyncGenerator[Observed, None]:
    """The agent, exporting over http/protobuf."""
    async with observing() as seen:
        yield seen
