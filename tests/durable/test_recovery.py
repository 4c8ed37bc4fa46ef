"""After the end of a process: what goes on, what does not, and how it is said."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest

from agentserver.durable._records import NewRun, Status
from agentserver.durable._runs import Runs
from agentserver.durable.options import Durable
from agentserver.durable.run import Run
from agentserver.errors import ConfigurationError
from tests.durable.harness import FAST, Process, World, values


async def crashed_after(world: World, *steps: str) -> str:
    """A run whose process was killed after these steps."""
    stuck = asyncio.Event()

    async def body(run: Run, _value: Any) -> None:
        for step in steps:
            await run.step(step, lambda: 1)
        stuck.set()
        await asyncio.Event().wait()

    async with world.process(body) as process:
        name = await process.begin()
        await stuck.wait()
        await process.crash()
    return name


def calling(*steps: str) -> Any:
    async def body(run: Run, _value: Any) -> str:
        for step in steps:
            await run.step(step, lambda: 2)
        return "done"

    return body


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        (("plan", "write"), Status.COMPLETED),
        (("plan", "write", "check"), Status.COMPLETED),
        (("plan", "draft"), Status.FAILED),
        (("write", "plan"), Status.FAILED),
        (("plan",), Status.FAILED),
    ],
)
async def test_changed_code_goes_on_where_the_names_match_and_only_there(
    world: World, steps: tuple[str, ...], status: Status
) -> None:
    name = await crashed_after(world, "plan", "write")
    async with world.process(calling(*steps)) as process:
        run = await process.end(name)
        known = await process.runs._engine.get(name)
    assert run.status is status
    if status is Status.FAILED:
        assert json.loads(run.error or "")["code"] == "version_mismatch"
    assert known is not None


async def test_code_that_swallows_everything_still_ends_with_a_mismatch(world: World) -> None:
    name = await crashed_after(world, "plan", "write")
    called: list[int] = []

    async def body(run: Run, _value: Any) -> str:
        for number in range(3):
            try:
                await run.step(f"draft-{number}", lambda: called.append(1))
            except BaseException:  # noqa: BLE001, S112 - what careless code does
                continue
        return "done"

    async with world.process(body) as process:
        run = await process.end(name)
    assert json.loads(run.error or "")["code"] == "version_mismatch"
    assert called == []


async def test_runs_of_another_handler_are_left_alone_and_said(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    name = await crashed_after(world, "plan")
    async with world.process(calling("plan"), name="Renamed") as process:
        assert (await process.get(name)).status is Status.IN_PROGRESS
    assert "write durable=Durable(name='Handler')" in caplog.text
    async with world.process(calling("plan")) as process:
        assert (await process.end(name)).status is Status.COMPLETED


async def test_a_run_that_records_nothing_between_its_crashes_is_given_up(world: World) -> None:
    durable = dataclasses.replace(FAST, max_recoveries=3)
    began: list[int] = []

    async def body(run: Run, _value: Any) -> None:
        began.append(1)
        await asyncio.Event().wait()

    name = ""
    for crash in range(4):
        async with world.process(body, durable) as process:
            name = name or await process.begin()
            while len(began) <= crash:
                await asyncio.sleep(0.001)
            await process.crash()
    async with world.process(body, durable) as process:
        run = await process.end(name)
    assert json.loads(run.error or "")["code"] == "too_many_recoveries"
    assert len(began) == 4


async def test_a_run_that_records_something_between_its_crashes_is_never_given_up(world: World) -> None:
    durable = dataclasses.replace(FAST, max_recoveries=1)
    name, reached = "", asyncio.Event()
    lasts = 0

    async def body(run: Run, _value: Any) -> str:
        for number in range(6):
            await run.step(f"s{number}", lambda: 1)
            if number == lasts:
                reached.set()
                await asyncio.Event().wait()
        return "done"

    for lasts in range(6):  # noqa: B007 - the body reads it
        reached = asyncio.Event()
        async with world.process(body, durable) as process:
            name = name or await process.begin()
            await reached.wait()
            await process.crash()
    lasts = 99
    async with world.process(body, durable) as process:
        run = await process.end(name)
    assert (run.status, run.recoveries) == (Status.COMPLETED, 6)


async def test_a_process_that_ends_in_order_lets_the_step_finish_and_the_next_goes_on(world: World) -> None:
    calls: list[str] = []
    began, gate = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        calls.append("slow")
        began.set()
        await gate.wait()

    async def body(run: Run, _value: Any) -> str:
        await run.step("slow", slow)
        await run.step("next", lambda: calls.append("next"))
        return "done"

    async with world.process(body) as process:
        name = await process.begin()
        await began.wait()
        ending = asyncio.create_task(process.runs.stop(5))
        process.has_crashed = True
        await asyncio.sleep(0)
        gate.set()
        await ending
    async with world.process(body) as process:
        run = await process.end(name)
    assert (run.status, run.retries, calls) == (Status.COMPLETED, 0, ["slow", "next"])


async def test_a_sleep_is_not_begun_anew_and_a_signal_is_not_lost(world: World) -> None:
    async def body(run: Run, _value: Any) -> list[Any]:
        await run.sleep(0.2)
        await run.emit("slept")
        return [await run.wait_for("answer"), await run.wait_for("answer")]

    async with world.process(body) as process:
        name = await process.begin()
        assert await process.runs.signal(name, "answer", '"early"')
        await process.until(name, lambda run: run.last_event > 0)
        await process.crash()
    await asyncio.sleep(0.2)
    async with world.process(body) as process:
        await process.until(name, lambda run: run.recoveries == 1)
        begun = process.runs.clock()
        await process.until(name, lambda run: run.last_event >= 3)
        assert process.runs.clock() - begun < 0.15
        assert await process.runs.signal(name, "answer", '"late"')
        run = await process.end(name)
        assert not await process.runs.signal(name, "answer", '"too late"')
        assert values(await process.events(name)) == ["slept"]
    assert run.output == '["early","late"]'


async def test_a_clock_that_is_set_back_makes_no_sleep_longer(world: World) -> None:
    async def body(run: Run, _value: Any) -> None:
        await run.sleep(0.1)

    hour = 3600.0

    async def started(clock: Any) -> Runs:
        runs = Runs(FAST, "Handler", world.engine(), body, clock)
        await runs.start()
        return runs

    runs = await started(lambda: 10 * hour)
    process = Process(runs)
    await runs.submit(NewRun("a", "s", "", None, "", "Handler", "1", "{}", 10 * hour))
    await process.until("a", lambda run: run.last_event >= 1)
    await asyncio.sleep(0.05)
    await process.crash()
    runs = await started(lambda: 9 * hour)
    assert (await Process(runs).end("a")).status is Status.COMPLETED
    await runs.stop(1)


async def test_a_wait_that_nobody_ends_ends_by_its_time_out(world: World) -> None:
    async def body(run: Run, _value: Any) -> str:
        try:
            await run.wait_for("answer", timeout=0.05)
        except Exception as error:  # noqa: BLE001 - what is raised is the subject
            return getattr(error, "kind", "")
        return ""

    async with world.process(body) as process:
        assert (await process.end(await process.begin())).output == '"TimeoutError"'


async def test_a_finished_run_is_forgotten_after_its_time_and_its_key_is_free(world: World) -> None:
    durable = dataclasses.replace(FAST, keep=timedelta(seconds=0.4), keep_events=timedelta(seconds=0.1))
    async with world.process(calling("one"), durable) as process:
        name = await process.begin(key="k")
        await process.end(name)
        await process.until(name, lambda run: not run.has_events)
        while await process.runs.get(name) is not None:
            await asyncio.sleep(0.01)
        assert (await process.start(key="k")).is_new


@pytest.mark.parametrize("wrong", [{"retries": -1}, {"busy": "wait"}, {"keep": 7}, {"name": "a b"}])
def test_an_option_of_a_wrong_value_is_refused_with_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Durable(**wrong)


async def test_a_run_that_waits_for_its_store_as_the_process_ends_does_not_hold_it_up(world: World) -> None:
    asked = asyncio.Event()

    async def body(_run: Run, _value: Any) -> None: ...

    async with world.process(body) as process:
        engine = process.runs._engine

        async def claim(invocation_id: str, now: float) -> None:
            asked.set()
            await asyncio.Event().wait()

        engine.claim = claim  # type: ignore[method-assign]
        name = await process.begin()
        await asked.wait()
        process.runs.durable = dataclasses.replace(FAST, cancel_grace=0.01)
        await process.runs.stop(0.01)
        process.has_crashed = True
        del engine.claim
    async with world.process(body) as process:
        assert (await process.end(name)).status is Status.COMPLETED
