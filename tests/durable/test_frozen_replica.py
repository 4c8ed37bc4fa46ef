"""A process on a PostgreSQL store that is frozen while the others have much to tell."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from agentserver.durable.run import Run
from agentserver.testing import run_server
from tests.durable.harness import World, timeout
from tests.durable.postgres import shared_server
from tests.servers import ROOT


@pytest.mark.postgres
async def test_a_frozen_replica_is_found_dead_although_what_it_was_told_fills_its_connection(
    tmp_path: Path,
) -> None:
    async def body(_run: Run, _value: Any) -> None: ...

    world = World("postgres", tmp_path)
    server, (_, _, schema) = shared_server(), world.address.partition("schema=")
    environment = {"AGENTSERVER_STORE": world.address, "AGENTSERVER_LOG_LEVEL": "ERROR"}
    agent = run_server("-m", "tests.durable.agents", "Effects", environment=environment, cwd=ROOT)
    async with agent as frozen, world.process(body), timeout():
        os.kill(frozen.process.pid, signal.SIGSTOP)
        news = f"SELECT pg_notify($${schema}_runs$$, $$0 events $$ || repeat($$x$$, 7000) || n)"
        _ = await server.rows(schema, f"{news} FROM generate_series(1, 500) AS n")
        while len(await server.rows(schema, "SELECT id FROM replicas")) == 2:
            await asyncio.sleep(0.1)
        os.kill(frozen.process.pid, signal.SIGCONT)
        while len(await server.rows(schema, "SELECT id FROM replicas")) != 2:
            await asyncio.sleep(0.1)  # it comes back, as another
