"""The twenty cases that every engine must show: which tests show which, and two that are shown here."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Sequence, Set
from typing import Any

import pytest

from agentserver.durable._records import Changes, Created, NewRun, Status
from agentserver.durable.run import Run
from tests.durable.harness import World, kinds, timeout
from tests.servers import ROOT

ALL = frozenset({"memory", "sqlite", "postgres"})
FILES = frozenset({"sqlite", "postgres"})
# What a test that asks for one of these is run on; any other on what its module is about.
FIXTURES = {"world": ALL, "client": ALL, "store": FILES}
MODULES = {
    "test_bad_days": {"sqlite"},
    "test_processes": {"sqlite"},
    "test_database_bad_days": {"postgres"},
    "test_replicas": {"postgres"},
    "test_replica_processes": {"postgres"},
}
# The tests of each case, and the engines that they must be run on together: memory has no second process,
# a file has one, and what nobody can take away is never gone.
CASES: dict[int, tuple[Set[str], Sequence[str]]] = {
    1: (ALL, ["test_steps.after_a_crash_in_step_4_of_8_the_first_3_are_not_called_again"]),
    2: (ALL, ["test_cases.a_crash_between_the_end_of_a_step_and_its_record"]),
    3: (ALL, ["test_cases.a_crash_before_the_answer_leaves_one_run_that_a_repetition_joins"]),
    4: (FILES, ["test_processes.a_process_that_is_told_to_end_leaves_its_runs_and_its_readers_to_the_next"]),
    5: (ALL, ["test_http.a_reader_goes_on_after_the_event_it_names"]),
    6: (FILES, ["test_processes.a_reader_goes_on_where_it_was_over_the_death_of_the_process"]),
    7: (ALL, ["test_bad_days.fifty_readers_and_one_that_stalls_do_not_hold_up_a_run"]),
    8: (ALL, ["test_http.a_client_that_leaves_its_stream_changes_nothing"]),
    9: (
        ALL,
        [
            "test_http.ten_posts_of_one_key_at_once_are_one_run",
            "test_replicas.of_ten_posts_with_one_key_over_three_replicas_one_begins_a_run",
        ],
    ),
    10: (ALL, ["test_http.the_same_invocation_id_joins_too_and_another_body_is_a_conflict"]),
    11: (ALL, ["test_http.another_owners_run_is_not_there"]),
    12: (
        ALL,
        [
            "test_cancel.a_run_that_is_cancelled_in_a_step_cleans_up_and_ends",
            "test_replicas.a_cancel_asked_of_another_replica_reaches_the_run_in_its_step",
        ],
    ),
    13: (ALL, ["test_cancel.a_queued_run_that_is_cancelled_never_starts"]),
    14: (ALL, ["test_cancel.a_cancel_that_a_crash_overtakes_takes_effect_after_it"]),
    15: (
        ALL,
        [
            "test_steps.a_step_that_fails_twice_is_retried_and_counted",
            "test_steps.a_step_that_fails_once_more_than_its_retries_fails_the_run",
            "test_steps.a_crash_between_two_tries_uses_no_retry",
        ],
    ),
    16: (
        {"postgres"},
        ["test_replica_processes.what_a_killed_and_a_frozen_replica_had_begun_the_third_finishes_in_time"],
    ),
    17: (
        ALL,
        [
            "test_sessions.a_later_input_tells_the_run_before_it_to_make_room",
            "test_sessions.a_session_that_takes_one_at_a_time_refuses_another",
            "test_sessions.the_tenth_that_would_wait_is_refused",
            "test_sessions.the_order_is_kept_over_a_crash",
        ],
    ),
    18: ({"sqlite"}, ["test_processes.of_two_processes_on_one_file_the_second_waits_and_takes_over"]),
    19: (
        FILES,
        [
            "test_bad_days.runs_wait_for_a_full_disk_and_go_on_when_there_is_room",
            "test_bad_days.a_post_to_a_full_disk_is_503_and_is_no_run",
            "test_database_bad_days.runs_wait_for_a_database_that_is_gone_and_requests_are_503",
        ],
    ),
    20: (
        ALL,
        [
            "test_recovery.changed_code_goes_on_where_the_names_match_and_only_there",
            "test_recovery.a_finished_run_is_forgotten_after_its_time_and_its_key_is_free",
            "test_bad_days.the_file_stays_small_when_runs_are_forgotten",
        ],
    ),
}


def test_there_are_twenty_cases() -> None:
    assert sorted(CASES) == list(range(1, 21))


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_tests_on_each_engine_that_can_show_it(case: int) -> None:
    engines, tests = CASES[case]
    found: set[str] = set()
    for test in tests:
        module, _, name = test.partition(".")
        tree = ast.parse((ROOT / "tests" / "durable" / f"{module}.py").read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
        meant = [function for function in functions if function.name.startswith(f"test_{name}")]
        assert len(meant) == 1, test
        taken = {argument.arg for argument in meant[0].args.args} & FIXTURES.keys()
        found |= FIXTURES[taken.pop()] if taken else MODULES[module]
    assert found == engines


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
