"""Cancel: what is awaited is cancelled, clean-up is recorded, and no crash undoes it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentserver.durable._records import Status
from agentserver.durable.options import Durable
from agentserver.durable.run import Run
from tests.durable.harness import World, kinds


class Cleaning:
    """A run that works without end, and cleans up in a step."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.working = asyncio.Event()
        self.cleaning = asyncio.Event()
        self.may_clean = asyncio.Event()
        self.may_clean.set()

    async def work(self) -> None:
        self.calls.append("work")
        self.working.set()
        await asyncio.Event().wait()

    async def clean(self) -> None:
        self.calls.append("clean")
        self.cleaning.set()
        await self.may_clean.wait()

    async def rest(self) -> None:
        self.calls.append("rest")

    async def __call__(self, run: Run, _value: Any) -> None:
        await run.step("first", self.rest)
        try:
            await run.step("work", self.work)
        except asyncio.CancelledError:
            await run.step("clean", self.clean)
            assert run.cancelled
            raise
        await run.step("rest", self.rest)


async def test_a_run_that_is_cancelled_in_a_step_cleans_up_and_ends(world: World) -> None:
    body = Cleaning()
    async with world.process(body) as process:
        name = await process.begin()
        await body.working.wait()
        body.may_clean.clear()
        told = await process.runs.cancel(name)
        await body.cleaning.wait()
        state = (await process.get(name)).state
        body.may_clean.set()
        run = await process.end(name)
        events = await process.events(name)
    assert told is not None
    assert (told.state, state, run.state) == ("cancelling", "cancelling", "cancelled")
    assert kinds(events) == ["run_start", "cancelled"]
    assert body.calls == ["rest", "work", "clean"]


async def test_a_clean_up_that_a_crash_interrupts_is_resumed(world: World) -> None:
    body = Cleaning()
    async with world.process(body) as process:
        name = await process.begin()
        await body.working.wait()
        body.may_clean.clear()
        await process.runs.cancel(name)
        await body.cleaning.wait()
        await process.crash()
    again = Cleaning()
    async with world.process(again) as process:
        run = await process.end(name)
    assert run.status is Status.CANCELLED
    assert again.calls == ["clean"]


async def test_a_cancel_that_a_crash_overtakes_takes_effect_after_it(world: World) -> None:
    body = Cleaning()
    async with world.process(body) as process:
        name = await process.begin()
        await body.working.wait()
        await process.runs._engine.cancel(name, 1.0)  # stored, and then the process is gone
        await process.crash()
    again = Cleaning()
    async with world.process(again) as process:
        run = await process.end(name)
    assert run.status is Status.CANCELLED
    assert again.calls == ["clean"]


async def test_a_cancelled_run_that_waits_outside_a_step_ends_after_a_crash_too(world: World) -> None:
    waiting = asyncio.Event()

    async def body(run: Run, _value: Any) -> None:
        await run.step("one", lambda: 1)
        waiting.set()
        await asyncio.Event().wait()

    async with world.process(body) as process:
        name = await process.begin()
        await waiting.wait()
        await process.runs._engine.cancel(name, 1.0)
        await process.crash()
    async with world.process(body) as process:
        assert (await process.end(name)).status is Status.CANCELLED


async def test_a_queued_run_that_is_cancelled_never_starts(world: World) -> None:
    started: list[int] = []
    gate = asyncio.Event()

    async def body(run: Run, value: int) -> None:
        started.append(value)
        await run.step("wait", gate.wait)

    async with world.process(body) as process:
        first, second, third = [await process.begin(number) for number in range(3)]
        told = await process.runs.cancel(second)
        again = await process.runs.cancel(second)
        gate.set()
        assert (await process.end(first)).status is Status.COMPLETED
        assert (await process.end(third)).status is Status.COMPLETED
        late = await process.runs.cancel(first)
        events = await process.events(second)
    assert told is not None and again is not None and late is not None  # noqa: PT018
    assert (told.state, again.state, late.state) == ("cancelled", "cancelled", "completed")
    assert kinds(events) == ["cancelled"]
    assert started == [0, 2]


async def test_a_run_that_ignores_its_cancellation_is_left_behind(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    began = asyncio.Event()
    released = asyncio.Event()

    async def body(run: Run, _value: Any) -> None:
        began.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    async with world.process(body, Durable(cancel_grace=0.05)) as process:
        name = await process.begin()
        await began.wait()
        await process.runs.cancel(name)
        run = await process.end(name)
        released.set()
    assert run.status is Status.CANCELLED
    assert "ignores its cancellation" in caplog.text


async def test_nobody_can_cancel_what_is_not_there(world: World) -> None:
    async with world.process(Cleaning()) as process:
        assert await process.runs.cancel("unknown") is None
