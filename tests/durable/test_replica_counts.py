"""How many runs wait, as several processes on one PostgreSQL store tell it together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentserver.durable import _exchange
from agentserver.durable.run import Run
from tests.durable.harness import Process, World, timeout


def told(processes: list[Process]) -> list[tuple[int, int]]:
    """What each process tells of runs that are queued, and in progress."""
    counts = [process.runs._counts() for process in processes]
    return [(count["queued"], count["in_progress"]) for count in counts]


async def test_each_replica_tells_what_waits_for_its_own_runs_and_forgets_nothing_to_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()

    async def body(run: Run, _value: Any) -> None:
        await run.step("wait", gate.wait)

    monkeypatch.setattr(_exchange, "LOOK_EVERY", 0.02)
    world = World("postgres", tmp_path)
    async with world.process(body) as first, world.process(body) as second, timeout():
        both = [first, second]
        for process in both:
            monkeypatch.setattr(process.runs._exchange, "_is_observed", lambda: True)
        names = [await first.begin()]
        names += [await second.begin() for _ in range(3)]
        names += [await second.begin(session_id="t"), await first.begin(session_id="t")]
        while told(both) != [(3, 1), (1, 1)]:
            await asyncio.sleep(0.005)
        gate.set()
        for name in names:
            _ = await first.end(name)
        while told(both) != [(0, 0), (0, 0)]:
            await asyncio.sleep(0.005)
    assert not second.runs._queued
