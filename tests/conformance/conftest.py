"""One run of the whole kit against this framework's reference agent, for all who ask about it."""

from __future__ import annotations

import sys

import pytest

from agentserver.conformance import load_cases
from agentserver.conformance.runner import Run, run_launched
from agentserver.conformance.server import ProcessLauncher

REFERENCE = [sys.executable, "-m", "agentserver.conformance.reference_agent"]


@pytest.fixture(scope="session")
def own_run() -> Run:
    """What every case shows of the reference agent."""
    return run_launched(ProcessLauncher(REFERENCE), load_cases().values(), jobs=4)
