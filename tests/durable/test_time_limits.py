"""Steps and waits with a limit of time, beside what else may end them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agentserver.durable._records import Status
from agentserver.durable.run import Run
from tests.durable.harness import World, timeout


async def test_a_cancel_in_the_moment_in_which_a_step_with_a_limit_ends_is_heard(tmp_path: Path) -> None:
    called: list[str] = []
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await gate

    async def body(run: Run, _value: Any) -> None:
        await run.step("wait", wait, timeout=30)
        await run.step("pay", called.append, "paid")

    async with World("memory", tmp_path).process(body) as process, timeout():
        name = await process.begin()
        await begun.wait()
        gate.set_result(None)
        await asyncio.sleep(0)  # the step has ended, and whoever waits for it does not know yet
        process.runs._attempts[name].cancel()
        await process.runs.cancel(name)
        assert (await process.end(name)).status is Status.CANCELLED
    assert called == []


async def test_a_signal_that_came_in_time_counts_although_the_process_starts_too_late(tmp_path: Path) -> None:
    async def body(run: Run, _value: Any) -> Any:
        return await run.wait_for("approval", 0.2)

    world = World("memory", tmp_path)
    async with world.process(body) as process:
        name = await process.begin()
        await process.until(name, lambda run: run.last_event == 1)
        while "~until approval" not in str(world._memory._runs[name].steps):
            await asyncio.sleep(0.002)
        await process.crash()
    assert await world.engine().signal(name, "approval", "true", 0.0) == 0
    await asyncio.sleep(0.2)
    async with world.process(body) as process:
        run = await process.end(name)
    assert (run.status, run.output) == (Status.COMPLETED, "true")
