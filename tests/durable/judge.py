"""Looks at a store itself, of whichever kind, and at the effects of `tests.durable.agents.Effects`."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from tests.durable.postgres import PostgresServer

Rows = Sequence[Sequence[Any]]

STEPS = "SELECT run, name, use, count(*) FROM steps GROUP BY run, name, use"
EVENTS = "SELECT run, id, kind, data FROM events ORDER BY run, id"
RUNS = "SELECT number, invocation_id, status, output, recoveries FROM runs"


class Store(Protocol):
    """Where an agent keeps its runs, for those who look into it from outside."""

    @property
    def address(self) -> str:
        """What ``AGENTSERVER_STORE`` says."""
        ...

    async def rows(self, query: str) -> Rows:
        """What *query* finds."""
        ...


class FileStore:
    """A file of the SQLite engine."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)

    async def rows(self, query: str) -> Rows:
        """What *query* finds."""
        with closing(sqlite3.connect(self.address)) as file:
            return file.execute(query).fetchall()


class DatabaseStore:
    """A schema of a PostgreSQL server."""

    def __init__(self, server: PostgresServer, schema: str) -> None:
        self._server = server
        self._schema = schema
        self.address = server.url_of(schema)

    async def rows(self, query: str) -> Rows:
        """What *query* finds."""
        return await self._server.rows(self._schema, query)


async def look(
    store: Store, effects: Sequence[str], steps: int, parts: int
) -> tuple[set[str], dict[str, int]]:
    """The ids of all runs, and how often what happened, if all is as it must be; see `judge`."""
    tables = {query: await store.rows(query) for query in (STEPS, EVENTS, RUNS)}
    found = judge(tables, Counter(effects), steps, parts)
    return {row[1] for row in tables[RUNS]}, found


def judge(tables: Mapping[str, Rows], effects: Counter[str], steps: int, parts: int) -> dict[str, int]:
    """How often what happened.

    Raises:
        AssertionError: Unless all runs are finished, with each step recorded once and events without gap.
    """
    numbers = [*range(steps), *(100 + number for number in range(parts))]
    recorded: Counter[int] = Counter()
    for run, name, use, count in tables[STEPS]:
        assert count == 1, f"the run {run} has {name} {use} {count} times"
        recorded[run] += 1
    ids: dict[int, list[int]] = {}
    bodies: dict[int, list[str]] = {}
    for run, number, kind, data in tables[EVENTS]:
        ids.setdefault(run, []).append(number)
        if not kind and "after" in json.loads(data):
            bodies.setdefault(run, []).append(data)
    repeated = most = 0
    for run, name, status, output, _ in tables[RUNS]:
        assert (status, output) == ("completed", str(sum(numbers))), (name, status, output)
        assert ids[run] == list(range(1, len(ids[run]) + 1)), f"{name} has a gap: {ids[run]}"
        assert recorded[run] == len(numbers), f"{name} has {recorded[run]} steps"
        assert len(bodies[run]) == len(set(bodies[run])) == steps, f"{name} has {bodies[run]} of its body"
        for step in numbers:
            times = effects[f"{name} {step}"]
            assert times, f"{name} never did {step}"
            repeated += times - 1
            most = max(most, times)
    return {
        "runs": len(tables[RUNS]),
        "recoveries": sum(row[4] for row in tables[RUNS]),
        "steps": len(tables[RUNS]) * len(numbers),
        "repeated": repeated,
        "most": most,
    }
