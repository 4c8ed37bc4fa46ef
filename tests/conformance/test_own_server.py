"""Our own server holds every requirement."""

from __future__ import annotations

import pytest

from agentserver.conformance import Outcome, Requirement, load_requirements
from agentserver.conformance.judge import judge
from agentserver.conformance.runner import Run

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("requirement", load_requirements().values(), ids=lambda r: r.id)
def test_our_own_server_holds_the_requirement(requirement: Requirement, own_run: Run) -> None:
    verdict = judge(requirement, own_run.seen[requirement.case])
    assert verdict.outcome is Outcome.HELD, verdict.reason
