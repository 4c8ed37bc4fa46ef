"""Our own server holds every requirement, and differs from the recorded ones only where that is listed.

All of it in one file: a parallel run gives a file to one process, so the kit runs once.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from agentserver.conformance import Outcome, Requirement, load_cases, load_requirements
from agentserver.conformance.judge import judge
from agentserver.conformance.runner import Run, run_launched
from agentserver.conformance.server import ProcessLauncher
from parity.comparison import Recording, load_known, problems
from parity.page import load_peers, own, page
from tests.servers import ROOT

pytestmark = pytest.mark.timeout(300)

REFERENCE = [sys.executable, "-m", "agentserver.conformance.reference_agent"]
KNOWN = load_known(ROOT / "parity" / "differences.json")
PEERS = load_peers(ROOT / "parity" / "recordings")


@pytest.fixture(scope="module")
def own_run(unmeasured: None) -> Run:
    """What every case shows of the reference agent."""
    return run_launched(ProcessLauncher(REFERENCE), load_cases().values(), jobs=4)


@pytest.fixture(scope="module")
def ours(own_run: Run) -> Recording:
    records: dict[str, Mapping[str, Any]] = {
        case.id: own_run.seen[case.id].record(raw=case.raw) for case in load_cases().values()
    }
    verdicts = {v.requirement.id: v.outcome.value for v in own_run.verdicts(load_requirements().values())}
    return own(Recording("run", "", "", "", records, verdicts))


@pytest.mark.parametrize("requirement", load_requirements().values(), ids=lambda r: r.id)
def test_our_own_server_holds_the_requirement(requirement: Requirement, own_run: Run) -> None:
    verdict = judge(requirement, own_run.seen[requirement.case])
    assert verdict.outcome is Outcome.HELD, verdict.reason


def test_every_difference_to_a_recorded_server_is_listed_and_every_listed_one_is_there(
    ours: Recording,
) -> None:
    assert problems(ours, PEERS, KNOWN) == []


def test_the_page_of_differences_is_current(ours: Recording) -> None:
    written = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
    assert written == page(ours, PEERS, KNOWN), "run make parity"
