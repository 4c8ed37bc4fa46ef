"""Several processes on one PostgreSQL store: whichever is asked, it is one and the same run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentserver.durable import _postgres_replica
from agentserver.durable._postgres import PostgresEngine
from agentserver.durable._records import Changes, Event, Status, StepKey, StepRecord
from agentserver.durable._runs import SessionBusyError, TooManyPendingError
from agentserver.durable.options import Durable
from agentserver.durable.run import Run
from tests.durable.harness import FAST, Body, Process, World, break_connections, timeout, values

STEER = Durable(backoff=0.01, cancel_grace=2.0, busy="steer")


@pytest.fixture(autouse=True)
def sweep_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_postgres_replica, "_SWEEP_EVERY", 0.1)


@asynccontextmanager
async def replicas(
    folder: Path, body: Body, durable: Durable = FAST, *, number: int = 2
) -> AsyncGenerator[list[Process], None]:
    """That many processes on one store."""
    world = World("postgres", folder)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(world.process(body, durable)) for _ in range(number)]


async def patiently(run: Run, _value: Any) -> str:
    """Wait until cancelled, and record that."""
    try:
        await run.step("wait", asyncio.Event().wait)
    finally:
        await run.step("clean up", lambda: 1)
    return "never"


async def test_a_cancel_asked_of_another_replica_reaches_the_run_in_its_step(tmp_path: Path) -> None:
    async with replicas(tmp_path, patiently) as (first, second):
        name = await first.begin()
        await first.until(name, lambda run: run.last_event > 0)
        reading = asyncio.create_task(second.events(name))
        told = await second.runs.cancel(name)
        assert told is not None
        assert told.state == "cancelling"
        assert (await second.end(name)).status is Status.CANCELLED
        assert [event.kind for event in await reading] == ["run_start", "cancelled"]
        again = await second.runs.cancel(name)
    assert again is not None
    assert again.state == "cancelled"


async def test_a_queued_run_is_cancelled_by_any_replica_and_never_begins(tmp_path: Path) -> None:
    async with replicas(tmp_path, patiently) as (first, second):
        name = await first.begin()
        waiting = await first.begin()
        told = await second.runs.cancel(waiting)
        assert told is not None
        assert told.status is Status.CANCELLED
        assert (await first.get(name)).status is Status.IN_PROGRESS
        _ = await second.runs.cancel(name)
        _ = await second.end(name)


async def test_signals_and_events_go_from_one_replica_to_the_other(tmp_path: Path) -> None:
    async def body(run: Run, _value: Any) -> Any:
        for number in range(3):
            await run.emit(number)
            await run.emit(await run.wait_for("more"))
        return "done"

    async with replicas(tmp_path, body) as (first, second):
        name = await first.begin()
        seen: list[Any] = []
        async with timeout():
            async for page in second.runs.follow(name, 0):
                for event in page:
                    seen.append(event.id)
                    if not event.kind and json.loads(event.data) in {0, 1, 2}:
                        assert await second.runs.signal(name, "more", '"word"')
        assert seen == list(range(1, 9))
        assert (await second.get(name)).output == '"done"'
        assert not await second.runs.signal(name, "more", "1")


async def test_a_second_input_at_another_replica_supersedes_the_run_and_follows_it(tmp_path: Path) -> None:
    async def body(run: Run, value: Any) -> Any:
        if value == "first":
            while not run.superseded:
                await asyncio.sleep(0.001)
        return value

    async with replicas(tmp_path, body, STEER) as (first, second):
        one = await first.begin("first")
        two = await second.start("second")
        assert (two.run.status, two.position, two.before) == (Status.QUEUED, 1, one)
        assert (await second.end(one)).output == '"first"'
        assert (await second.end(two.run.asked.invocation_id)).output == '"second"'


async def test_of_ten_posts_with_one_key_over_three_replicas_one_begins_a_run(tmp_path: Path) -> None:
    began: list[str] = []

    async def body(run: Run, _value: Any) -> None:
        began.append(run.invocation_id)

    async with replicas(tmp_path, body, number=3) as processes:
        asked = [processes[n % 3].start(key="k", session_id=f"s{n}") for n in range(10)]
        created = await asyncio.gather(*asked)
        names = {answer.run.asked.invocation_id for answer in created}
        assert len(names) == 1
        assert sum(answer.is_new for answer in created) == 1
        await processes[0].end(names.pop())
        stranger = await processes[1].start(key="k", owner="another")
        assert stranger.is_new
        await processes[1].end(stranger.run.asked.invocation_id)
    assert len(began) == 2


@pytest.mark.parametrize(("busy", "admitted"), [("reject", 1), ("queue", 10)])
async def test_a_session_takes_no_more_than_it_may_however_many_replicas_are_asked(
    tmp_path: Path, busy: Any, admitted: int
) -> None:
    running: list[str] = []
    order: list[int] = []

    async def body(run: Run, value: Any) -> None:
        assert not running
        running.append(run.invocation_id)
        await asyncio.sleep(0.005)
        order.append(value)
        running.clear()

    durable = Durable(busy=busy)
    async with replicas(tmp_path, body, durable, number=3) as processes:
        gate = [processes[number % 3].start(number) for number in range(14)]
        results = await asyncio.gather(*gate, return_exceptions=True)
        created = [result for result in results if not isinstance(result, BaseException)]
        refused = [result for result in results if isinstance(result, BaseException)]
        assert {type(error) for error in refused} <= {SessionBusyError, TooManyPendingError}
        # What ended meanwhile made room.
        assert len(created) >= admitted
        for answer in created:
            assert (await processes[0].end(answer.run.asked.invocation_id)).status is Status.COMPLETED
    assert len(order) == len(created)


async def test_the_others_finish_what_a_killed_replica_has_begun(tmp_path: Path) -> None:
    async def body(run: Run, value: Any) -> Any:
        for number in range(5):
            await run.step("work", asyncio.sleep, 0.01)
            await run.emit(number)
        return value

    async with replicas(tmp_path, body, number=3) as processes:
        asked = [processes[0].begin(n, session_id=f"s{n % 15}") for n in range(30)]
        names = await asyncio.gather(*asked)
        await processes[0].crash()
        for number, name in enumerate(names):
            run = await processes[1].end(name)
            assert (run.status, run.output) == (Status.COMPLETED, str(number))
            assert values(await processes[2].events(name)) == list(range(5))


async def test_a_replica_that_ends_in_order_hands_over_at_once(tmp_path: Path) -> None:
    async def body(run: Run, _value: Any) -> str:
        await run.wait_for("end")
        return "done"

    async with replicas(tmp_path, body) as (first, second):
        name = await first.begin()
        await first.until(name, lambda run: run.last_event > 0)
        await first.runs.stop(1)
        first.has_crashed = True
        await second.until(name, lambda run: run.recoveries == 1)
        assert await second.runs.signal(name, "end", "null")
        assert (await second.end(name)).status is Status.COMPLETED


async def test_a_replica_that_loses_its_connections_keeps_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_replica, "_SWEEP_EVERY", 1.0)
    async with replicas(tmp_path, patiently) as (first, second):
        name = await first.begin()
        await first.until(name, lambda run: run.last_event > 0)
        engine = first.runs._engine
        assert isinstance(engine, PostgresEngine)
        assert engine._replica is not None
        before, connection = engine._replica.id, engine._replica._connection
        assert connection is not None
        connection.terminate()
        while engine._replica._connection in {None, connection}:
            await asyncio.sleep(0.005)
        assert engine._replica.id == before
        _ = await second.runs.cancel(name)
        run = await second.end(name)
    assert (run.status, run.recoveries) == (Status.CANCELLED, 0)


async def test_a_replica_that_was_taken_for_dead_writes_nothing_and_goes_on_as_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    effects: list[int] = []

    async def body(run: Run, _value: Any) -> str:
        await run.wait_for("end")
        await run.step("effect", effects.append, 1)
        return "done"

    async with replicas(tmp_path, body) as (first, second):
        name = await first.begin()
        await first.until(name, lambda run: run.last_event > 0)
        engine = first.runs._engine
        assert isinstance(engine, PostgresEngine)
        assert engine._replica is not None
        before = engine._replica.id
        claimed = await first.get(name)
        # What the second does when the lock of the first is free.
        other = second.runs._engine
        assert isinstance(other, PostgresEngine)
        assert not await other._replica._bury(before)  # type: ignore[union-attr]
        break_connections(engine)
        await second.until(name, lambda run: run.recoveries == 1)
        await engine._database.open()
        changes = Changes(1.0, [Event(2, "", "{}", "0")], [StepRecord(StepKey("late", 0), '{"v":1}')])
        with pytest.raises(Exception, match="somebody else"):
            await engine.write(name, claimed.epoch, changes)
        replica = engine._replica
        task = asyncio.create_task(replica._stay())
        while replica.id in {0, before}:
            await asyncio.sleep(0.005)
        task.cancel()
        assert await second.runs.signal(name, "end", "null")
        assert (await second.end(name)).status is Status.COMPLETED
        await first.runs.stop(1)
        first.has_crashed = True
    assert effects == [1]
    assert "was taken for dead" in caplog.text
