"""Who judges the judge: every wrong server is caught, by the requirement that it breaks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any

import pytest

from agentserver.conformance import Case, Observation, Outcome, load_cases, load_requirements
from agentserver.conformance.judge import judge
from agentserver.conformance.requirement import Requirement
from agentserver.conformance.runner import run_launched
from agentserver.conformance.server import ProcessLauncher, ProcessServer, Server, wait_until_ready
from agentserver.conformance.steps import run_case
from tests.conformance.mutants import MUTANTS, Mutant
from tests.conformance.wrong_server import Wrong, WrongServer

REFERENCE = [sys.executable, "-m", "agentserver.conformance.reference_agent"]

CHUNK = 80

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("unmeasured")]


def broken_by(mutant: Mutant) -> list[Requirement]:
    return [
        requirement
        for requirement in load_requirements().values()
        if any(fnmatchcase(requirement.id, pattern) for pattern in mutant.breaks)
    ]


def needs_a_server_of_its_own(case: Case) -> bool:
    return case.fresh or not case.starts


def starts_many_servers(mutant: Mutant) -> bool:
    return any(needs_a_server_of_its_own(load_cases()[r.case]) for r in broken_by(mutant))


# --- the runs, all together because most of them wait

Task = tuple[Mutant, Case]
Seen = Mapping[tuple[str, str], Observation]


def _run_alone(mutant: Mutant, case: Case, inner: Server) -> Observation:
    wrong = WrongServer(inner, mutant.wrong)
    try:
        return run_case(wrong, case)
    finally:
        wrong.stop()


def _run_group(tasks: list[Task]) -> dict[tuple[str, str], Observation]:
    """Run the tasks of one environment on one right server, or each on its own where a case needs that."""
    seen: dict[tuple[str, str], Observation] = {}
    first = tasks[0][1]
    inner: Server = ProcessServer(REFERENCE, first.handler, first.env)
    try:
        if first.starts:
            wait_until_ready(inner)
        for mutant, case in tasks:
            seen[mutant.name, case.id] = _run_alone(mutant, case, inner)
    finally:
        inner.stop()
    return seen


@pytest.fixture(scope="module")
def seen(request: pytest.FixtureRequest, unmeasured: None) -> Seen:
    """What the kit saw of each mutant that a selected test asks about."""
    wanted = [mutant for item in request.session.items if (mutant := _asked_about(item))]
    groups: dict[object, list[Task]] = {}
    for mutant in wanted:
        for case_id in dict.fromkeys(requirement.case for requirement in broken_by(mutant)):
            case = load_cases()[case_id]
            alone = mutant.name if needs_a_server_of_its_own(case) else ""
            groups.setdefault((case.environment, alone), []).append((mutant, case))
    chunks = [
        tasks[start : start + CHUNK] for tasks in groups.values() for start in range(0, len(tasks), CHUNK)
    ]
    with ThreadPoolExecutor(max_workers=6) as pool:
        parts = list(pool.map(_run_group, sorted(chunks, key=len, reverse=True)))
    return {key: observation for part in parts for key, observation in part.items()}


def _asked_about(item: Any) -> Mutant | None:
    """The mutant of a test that asks what was seen of it."""
    asks = "seen" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec")
    return item.callspec.params.get("mutant") if asks else None


# --- the tests


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=mutant.name, marks=pytest.mark.long if starts_many_servers(mutant) else ())
        for mutant in MUTANTS
    ],
)
def test_a_wrong_server_is_caught_by_every_requirement_it_breaks(mutant: Mutant, seen: Seen) -> None:
    broken = broken_by(mutant)
    assert broken
    held = [r.id for r in broken if judge(r, seen[mutant.name, r.case]).outcome is not Outcome.MISSED]
    assert held == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_pattern_of_a_mutant_names_a_requirement(mutant: Mutant) -> None:
    for pattern in mutant.breaks:
        assert any(fnmatchcase(name, pattern) for name in load_requirements()), pattern


def test_every_requirement_has_a_wrong_server_that_breaks_it() -> None:
    broken = {requirement.id for mutant in MUTANTS for requirement in broken_by(mutant)}
    assert sorted(set(load_requirements()) - broken) == []


def test_no_two_wrong_servers_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


# --- the untouched server


class _Proxied(WrongServer):
    """A proxy that ends its server too."""

    def __init__(self, inner: Server) -> None:
        super().__init__(inner, Wrong())
        self._owned = inner

    def stop(self) -> None:
        super().stop()
        self._owned.stop()


class _Launcher(ProcessLauncher):
    def launch(self, handler: str, env: Mapping[str, str]) -> Server:
        return _Proxied(super().launch(handler, env))


@pytest.mark.long
def test_the_untouched_server_passes_through_the_same_proxy_without_a_miss() -> None:
    run = run_launched(_Launcher(REFERENCE), load_cases().values(), jobs=4)
    missed = [v for v in run.verdicts(load_requirements().values()) if v.outcome is not Outcome.HELD]
    assert [(verdict.requirement.id, verdict.reason) for verdict in missed] == []
