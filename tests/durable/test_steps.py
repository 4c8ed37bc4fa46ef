"""Steps: recorded once, given again after a crash, by name and use."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agentserver.durable._records import Status
from agentserver.durable.options import Durable
from agentserver.durable.run import Run, StepFailedError
from agentserver.errors import InvocationError
from tests.durable.harness import FAST, World, kinds, values

NEVER = asyncio.Event


class Counting:
    """Steps that count their calls; the one named *stuck* never ends."""

    def __init__(self, stuck: str = "") -> None:
        self.calls: dict[str, int] = {}
        self.stuck = stuck
        self.reached = asyncio.Event()

    async def work(self, name: str) -> str:
        self.calls[name] = self.calls.get(name, 0) + 1
        if name == self.stuck:
            self.reached.set()
            await asyncio.Event().wait()
        return name.upper()


def eight(steps: Counting) -> Any:
    async def body(run: Run, _value: Any) -> str:
        return "".join([await run.step(f"s{n}", steps.work, f"s{n}") for n in range(1, 9)])

    return body


async def test_a_run_gives_what_its_steps_give(world: World) -> None:
    steps = Counting()
    async with world.process(eight(steps)) as process:
        run = await process.end(await process.begin())
    assert (run.status, run.output) == (Status.COMPLETED, '"S1S2S3S4S5S6S7S8"')
    assert set(steps.calls.values()) == {1}


async def test_after_a_crash_in_step_4_of_8_the_first_3_are_not_called_again(world: World) -> None:
    before, after = Counting(stuck="s4"), Counting()
    async with world.process(eight(before)) as process:
        name = await process.begin()
        await before.reached.wait()
        await process.crash()
    async with world.process(eight(after)) as process:
        run = await process.end(name)
        events = await process.events(name)
    assert run.output == '"S1S2S3S4S5S6S7S8"'
    assert (run.recoveries, run.retries) == (1, 0)
    assert before.calls["s4"] == 1
    assert after.calls == {f"s{n}": 1 for n in range(4, 9)}
    assert kinds(events) == ["run_start", "recovered", "completed"]
    assert json.loads(events[1].data)["last_step"] == "s3"
    assert [event.id for event in events] == list(range(1, len(events) + 1))


async def test_parallel_steps_of_one_name_are_told_apart_by_their_use(world: World) -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(0.01 * (5 - number))
        return number

    async def body(run: Run, _value: Any) -> list[int]:
        return await asyncio.gather(*(run.step("part", work, number) for number in range(5)))

    async with world.process(body) as process:
        assert (await process.end(await process.begin())).output == "[0,1,2,3,4]"


async def test_parallel_chains_go_on_in_any_order_after_a_crash(world: World) -> None:
    gate = asyncio.Event()
    passed: list[str] = []

    async def work(name: str) -> str:
        if name == "a1" and not gate.is_set():
            await asyncio.Event().wait()
        passed.append(name)
        return name

    async def chain(run: Run, letter: str) -> str:
        return "".join([await run.step(f"{letter}{n}", work, f"{letter}{n}") for n in range(3)])

    async def body(run: Run, _value: Any) -> list[str]:
        return await asyncio.gather(*(chain(run, letter) for letter in "ab"))

    async with world.process(body) as process:
        name = await process.begin()
        while "b2" not in passed:
            await asyncio.sleep(0.001)
        await process.until(name, lambda _run: True)
        await asyncio.sleep(0.05)
        await process.crash()
    gate.set()
    async with world.process(body) as process:
        assert (await process.end(name)).output == '["a0a1a2","b0b1b2"]'
    assert sorted(passed) == ["a0", "a1", "a2", "b0", "b1", "b2"]


async def test_a_result_comes_back_as_json_carries_it_the_first_time_too(world: World) -> None:
    async def body(run: Run, _value: Any) -> list[str]:
        result: Any = await run.step("pair", lambda: (1, 2))
        return [type(result).__name__]

    async with world.process(body) as process:
        assert (await process.end(await process.begin())).output == '["list"]'


async def test_a_result_that_json_cannot_carry_fails_the_step_with_a_sentence(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(run: Run, _value: Any) -> object:
        return await run.step("odd", object)

    async with world.process(body) as process:
        run = await process.end(await process.begin())
    assert json.loads(run.error or "") == {"code": "step_failed", "message": "The step 'odd' failed"}
    assert "the result of the step 'odd' is what JSON cannot carry" in caplog.text
    assert run.retries == 0


async def test_a_result_over_the_limit_fails_the_step_with_a_sentence(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(run: Run, _value: Any) -> object:
        return await run.step("long", lambda: "x" * 200)

    async with world.process(body, Durable(max_value_size=100)) as process:
        run = await process.end(await process.begin())
    assert run.status is Status.FAILED
    assert "has 208 characters of JSON, over the limit of 100" in caplog.text


async def test_a_step_that_fails_twice_is_retried_and_counted(world: World) -> None:
    tries: list[int] = []

    async def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("no network")
        return len(tries)

    async def body(run: Run, _value: Any) -> int:
        return await run.step("flaky", flaky)

    async with world.process(body) as process:
        name = await process.begin()
        run = await process.end(name)
        events = await process.events(name)
    assert (run.output, run.snapshot()["attempt"]) == ("3", 3)
    assert kinds(events) == ["run_start", "step_retry", "step_retry", "completed"]


async def test_a_step_that_fails_once_more_than_its_retries_fails_the_run(world: World) -> None:
    async def broken() -> None:
        raise OSError("secret")

    async def body(run: Run, _value: Any) -> None:
        await run.step("broken", broken)

    async with world.process(body) as process:
        name = await process.begin()
        run = await process.end(name)
        events = await process.events(name)
    assert (run.status, run.snapshot()["attempt"]) == (Status.FAILED, 4)
    assert "secret" not in "".join(event.data for event in events)


async def test_a_crash_between_two_tries_uses_no_retry(world: World) -> None:
    tries: list[int] = []
    slow = Durable(retries=3, backoff=0.01)
    failed = asyncio.Event()

    async def broken() -> None:
        tries.append(1)
        if len(tries) == 3:  # the crash comes during the third
            failed.set()
            await asyncio.Event().wait()
        raise OSError

    async def body(run: Run, _value: Any) -> None:
        await run.step("broken", broken)

    async with world.process(body, slow) as process:
        name = await process.begin()
        await failed.wait()
        await process.crash()
    async with world.process(body, slow) as process:
        run = await process.end(name)
    assert (run.status, run.snapshot()["attempt"], run.recoveries) == (Status.FAILED, 4, 1)
    assert len(tries) == 5


async def test_a_failed_step_raises_the_same_now_and_after_a_crash(world: World) -> None:
    seen: list[str] = []
    gate = asyncio.Event()

    async def broken() -> None:
        raise LookupError("no such city")

    async def body(run: Run, _value: Any) -> str:
        try:
            await run.step("look", broken, retries=0)
        except StepFailedError as error:
            seen.append(f"{error.step} {error.kind} {error.message}")
        await run.step("then", gate.wait)
        return seen[-1]

    async with world.process(body) as process:
        name = await process.begin()
        while not seen:
            await asyncio.sleep(0.001)
        await process.crash()
    gate.set()
    async with world.process(body) as process:
        assert (await process.end(name)).output == '"look LookupError no such city"'
    assert len(set(seen)) == 1


async def test_what_a_step_says_to_the_client_reaches_it_and_is_not_retried(world: World) -> None:
    async def refuse() -> None:
        raise InvocationError("no_budget", "There is no budget left")

    async def body(run: Run, _value: Any) -> None:
        await run.step("pay", refuse)

    async with world.process(body) as process:
        run = await process.end(await process.begin())
    assert json.loads(run.error or "") == {"code": "no_budget", "message": "There is no budget left"}
    assert run.retries == 0


async def test_a_try_that_takes_too_long_has_failed(world: World) -> None:
    async def body(run: Run, _value: Any) -> None:
        await run.step("slow", asyncio.Event().wait, timeout=0.01, retries=0)

    async with world.process(body) as process:
        assert (await process.end(await process.begin())).status is Status.FAILED


async def test_a_sync_step_runs_in_a_thread_and_every_try_has_the_same_key(world: World) -> None:
    keys: list[str] = []

    async def body(run: Run, _value: Any) -> None:
        def pay() -> None:
            keys.append(run.step_key)
            if len(keys) < 2:
                raise OSError

        await run.step("pay", pay)

    async with world.process(body) as process:
        name = await process.begin()
        await process.end(name)
    assert keys == [f"{name}:0:pay"] * 2


async def test_a_step_inside_a_step_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def body(run: Run, _value: Any) -> None:
        async def outer() -> None:
            await run.step("inner", lambda: 1)

        await run.step("outer", outer, retries=0)

    async with world.process(body) as process:
        assert (await process.end(await process.begin())).status is Status.FAILED
    assert "steps do not nest" in caplog.text


async def test_events_of_the_run_are_stored_once_and_those_of_a_step_once_a_try(world: World) -> None:
    gate = asyncio.Event()

    async def body(run: Run, _value: Any) -> None:
        async def work() -> None:
            await run.emit("in step")
            await gate.wait()

        await run.emit("first")
        await run.step("one", lambda: 1)
        await run.emit("second")
        await run.step("two", work)
        await run.emit("third")

    async with world.process(body) as process:
        name = await process.begin()
        await process.until(name, lambda run: run.last_event == 4)
        await process.crash()
    gate.set()
    async with world.process(body) as process:
        await process.end(name)
        events = await process.events(name)
    assert values(events) == ["first", "second", "in step", "in step", "third"]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [json.loads(event.data) for event in events if event.id in {4, 6}] == ["in step", "in step"]


async def test_the_framework_does_nothing_in_the_place_of_what_is_fast(world: World) -> None:
    async def body(run: Run, value: int) -> int:
        for number in range(value):
            await run.emit(number)
        return value

    async with world.process(body, FAST) as process:
        name = await process.begin(3000)
        events = await process.events(name)
    assert values(events) == list(range(3000))


@pytest.mark.parametrize("name", ["", "~mine", "a\0b", "half \ud83d", "x" * 257])
async def test_a_name_that_not_every_store_can_keep_is_refused(world: World, name: str) -> None:
    async def body(run: Run, _value: Any) -> str:
        with pytest.raises(ValueError, match="1 to 256 printable characters"):
            await run.step(name, lambda: 1)
        return str(await run.step("größe 🐝", lambda: "\0"))

    async with world.process(body) as process:
        run = await process.end(await process.begin())
    assert (run.status, json.loads(run.output or "")) == (Status.COMPLETED, "\0")
