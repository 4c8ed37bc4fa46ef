"""Runs on an engine, crashes, and what happens after them; without HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from agentserver.durable._engine import Engine
from agentserver.durable._memory import MemoryEngine
from agentserver.durable._postgres import PostgresEngine
from agentserver.durable._postgres_database import address_of
from agentserver.durable._records import Created, Event, NewRun, RunRecord
from agentserver.durable._runs import Runs
from agentserver.durable._sqlite import SqliteEngine
from agentserver.durable.options import Durable
from agentserver.durable.run import Run
from agentserver.testing.conditions import DEADLINE_SECONDS
from tests.durable.postgres import shared_server

ENGINES = ("memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres))
FAST = Durable(backoff=0.01, cancel_grace=2.0)
Body = Callable[[Run, Any], Awaitable[Any]]

_numbers = count(1)
_schemas = count(1)


class World:
    """What outlasts a process: the store. Each `process` is one that uses it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind = kind
        self._path = folder / "runs.sqlite3"
        self._memory = MemoryEngine()
        self._schema = f"world_{next(_schemas)}"

    @property
    def address(self) -> str:
        """What ``AGENTSERVER_STORE`` says; that of memory is another one in each process."""
        if self._kind == "postgres":
            return shared_server().url_of(self._schema)
        return "memory" if self._kind == "memory" else str(self._path)

    def engine(self) -> Engine:
        """The engine, as a process makes it at its start."""
        if self._kind == "memory":
            return self._memory
        if self._kind == "postgres":
            return PostgresEngine(address_of(self.address, ""))
        return SqliteEngine(self._path)

    @asynccontextmanager
    async def process(
        self, body: Body, durable: Durable = FAST, *, name: str = "Handler"
    ) -> AsyncGenerator[Process, None]:
        """A process that runs *body*; it ends in order, unless it has crashed."""
        runs = Runs(durable, name, self.engine(), body)
        process = Process(runs)
        await runs.start()
        try:
            yield process
        finally:
            if not process.has_crashed:
                await runs.stop(DEADLINE_SECONDS)


class Process:
    """One process."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.has_crashed = False

    async def start(self, value: Any = None, **asked: Any) -> Created:
        """Ask for a run."""
        text = json.dumps(value)
        new = NewRun(f"inv-{next(_numbers)}", "s", "", None, text, "Handler", text, "{}", self.runs.clock())
        return await self.runs.submit(new._replace(**asked))

    async def begin(self, value: Any = None, **asked: Any) -> str:
        """Ask for a run and give its id."""
        return (await self.start(value, **asked)).run.asked.invocation_id

    async def get(self, name: str) -> RunRecord:
        """The run as it stands."""
        run = await self.runs.get(name)
        assert run is not None
        return run

    async def end(self, name: str) -> RunRecord:
        """The run, once it has ended."""
        return await self.until(name, lambda run: run.status.is_terminal)

    async def until(self, name: str, holds: Callable[[RunRecord], bool]) -> RunRecord:
        """The run, once *holds* is true of it."""
        async with timeout():
            while not holds(run := await self.get(name)):
                await asyncio.sleep(0.002)
        return run

    async def events(self, name: str, after: int = 0) -> list[Event]:
        """All events of a run, to its end."""
        async with timeout():
            return [event async for page in self.runs.follow(name, after) for event in page]

    async def crash(self) -> None:
        """End as by kill -9: nothing further is recorded, and nothing is cleaned up in the store."""
        self.has_crashed = True
        self.runs._is_stopping = True
        for attempt in self.runs._attempts.values():
            attempt._is_lost = attempt._is_leaving = True
            attempt.abandon()
        tasks = [*self.runs._tasks.values(), *self.runs._others]
        bodies = [attempt._body for attempt in self.runs._attempts.values() if attempt._body]
        for task in [*tasks, *bodies]:
            task.cancel()
        if tasks:
            await asyncio.wait([*tasks, *bodies])
        if isinstance(self.runs._engine, PostgresEngine):
            break_connections(self.runs._engine)
        else:
            await self.runs._engine.close()


def break_connections(engine: PostgresEngine) -> None:
    """Leave the database as a killed process does: without a word."""
    replica = engine._replica
    assert replica is not None
    for task in replica._tasks:
        task.cancel()
    replica._leave()
    engine._database._pool.terminate()


@asynccontextmanager
async def timeout() -> AsyncGenerator[None, None]:
    """Fail if the block takes too long."""
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(DEADLINE_SECONDS, task.cancel)
    try:
        yield
    finally:
        timer.cancel()


def values(events: list[Event]) -> list[Any]:
    """What the handler has emitted."""
    return [json.loads(event.data) for event in events if not event.kind]


def kinds(events: list[Event]) -> list[str]:
    """The framework's words among events."""
    return [event.kind for event in events if event.kind]
