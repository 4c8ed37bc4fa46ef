"""The twenty cases that every engine must show: which test shows which, and two that are shown here."""

from __future__ import annotations

import ast
import asyncio
from typing import Any

import pytest

from agentserver.durable._records import Changes, Created, NewRun, Status
from agentserver.durable.run import Run
from tests.durable.harness import World, kinds, timeout
from tests.servers import ROOT

CASES = {
    1: "test_steps.after_a_crash_in_step_4_of_8_the_first_3_are_not_called_again",
    2: "test_cases.a_crash_between_the_end_of_a_step_and_its_record",
    3: "test_cases.a_crash_before_the_answer_leaves_one_run_that_a_repetition_joins",
    4: "test_processes.a_process_that_is_told_to_end_leaves_its_runs_and_its_readers_to_the_next",
    5: "test_http.a_reader_goes_on_after_the_event_it_names",
    6: "test_processes.a_reader_goes_on_where_it_was_over_the_death_of_the_process",
    7: "test_bad_days.fifty_readers_and_one_that_stalls_do_not_hold_up_a_run",
    8: "test_http.a_client_that_leaves_its_stream_changes_nothing",
    9: "test_replicas.of_ten_posts_with_one_key_over_three_replicas_one_begins_a_run",
    10: "test_http.the_same_invocation_id_joins_too_and_another_body_is_a_conflict",
    11: "test_http.another_owners_run_is_not_there",
    12: "test_replicas.a_cancel_asked_of_another_replica_reaches_the_run_in_its_step",
    13: "test_cancel.a_queued_run_that_is_cancelled_never_starts",
    14: "test_cancel.a_cancel_that_a_crash_overtakes_takes_effect_after_it",
    15: "test_steps.a_step_that_fails_twice_is_retried_and_counted",
    16: "test_replica_processes.what_a_killed_and_a_frozen_replica_had_begun_the_third_finishes_in_time",
    17: "test_sessions.a_later_input_tells_the_run_before_it_to_make_room",
    18: "test_processes.of_two_processes_on_one_file_the_second_waits_and_takes_over",
    19: "test_database_bad_days.runs_wait_for_a_database_that_is_gone_and_requests_are_503",
    20: "test_recovery.changed_code_goes_on_where_the_names_match_and_only_there",
}


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_a_test(case: int) -> None:
    module, _, name = CASES[case].partition(".")
    tree = ast.parse((ROOT / "tests" / "durable" / f"{module}.py").read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}
    assert any(found.startswith(f"test_{name}") for found in names)


async def test_a_crash_between_the_end_of_a_step_and_its_record_has_it_called_again(world: World) -> None:
    called: list[int] = []

    async def body(run: Run, _value: Any) -> Any:
        return await run.step("work", called.append, 1)

    async with world.process(body) as process:
        engine = process.runs._engine
        write = engine.write
        reached = asyncio.Event()

        async def stop_at_steps(invocation_id: str, epoch: int, changes: Changes) -> None:
            if changes.steps:
                reached.set()
                await asyncio.Event().wait()
            await write(invocation_id, epoch, changes)

        engine.write = stop_at_steps  # type: ignore[method-assign]
        name = await process.begin()
        async with timeout():
            await reached.wait()
        await process.crash()
        engine.write = write  # type: ignore[method-assign]
    async with world.process(body) as process:
        run = await process.end(name)
        events = await process.events(name)
        journal = await process.runs._engine.get(name)
    assert called == [1, 1]
    assert (run.status, run.recoveries, run.retries) == (Status.COMPLETED, 1, 0)
    assert kinds(events)[-2:] == ["recovered", "completed"]
    assert journal is not None


async def test_a_crash_before_the_answer_leaves_one_run_that_a_repetition_joins(world: World) -> None:
    async def body(_run: Run, value: Any) -> Any:
        return value

    async with world.process(body) as process:
        engine = process.runs._engine
        create = engine.create
        stored = asyncio.Event()

        async def never_answer(run: NewRun, admit: Any) -> Created:
            _ = await create(run, admit)
            stored.set()
            await asyncio.Event().wait()
            raise AssertionError

        engine.create = never_answer  # type: ignore[method-assign]
        asking = asyncio.create_task(process.start("bees", key="k", invocation_id="first"))
        async with timeout():
            await stored.wait()
        await process.crash()
        asking.cancel()
        _ = await asyncio.wait({asking})
        engine.create = create  # type: ignore[method-assign]
    async with world.process(body) as process:
        again = await process.start("bees", key="k", invocation_id="second")
        assert (again.is_new, again.run.asked.invocation_id) == (False, "first")
        assert (await process.end("first")).output == '"bees"'
        assert await process.runs.get("second") is None
