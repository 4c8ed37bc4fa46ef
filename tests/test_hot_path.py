"""What a request and a start cost, counted instead of timed: the same on a busy machine as on a quiet one.

The figures below are those of the last change that was measured. A count that leaves its band of 5 % fails
either way: above it the hot path has grown; below it the figure has become too generous to guard anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.servers import ROOT

pytestmark = pytest.mark.alone

VERSION = sys.version_info[:2]
BAND = 0.05

# The interpreter's instructions for one POST echo in the files of the package: without a log line, with one
# that waits for its batch, and with telemetry. Those of aiohttp and of the SDK are theirs to change.
INSTRUCTIONS = {
    (3, 10): (1051, 1196, 1599),
    (3, 11): (1049, 1204, 1621),
    (3, 12): (977, 1125, 1509),
    (3, 13): (979, 1137, 1510),
}
# The frames of ours that are on the stack of a handler. From Python 3.12 a request's task begins at once,
# inside the parser's callback.
CALLERS = ["serve", "_exchange", "answer", "_dispatch", "invoke"]
BEGINNING = ["data_received", "begin"]
# Modules of the project that a server has loaded when it serves.
MODULES = 57
# What no start may load unasked: each of these costs more than the project itself.
UNWANTED = {"opentelemetry", "grpc", "pydantic", "rich", "watchfiles", "prompt_toolkit", "argcomplete"}
UNWANTED_OURS = {"client", "cli", "conformance", "testing", "actions"}
# What only agents with services, or with a WebSocket, load.
LATE = {"agentserver._services.collection", "agentserver.invocations.options"}


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    """The counts of a process in which nothing else runs."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hot_path"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    counts: dict[str, Any] = json.loads(done.stdout)
    return counts


@pytest.mark.skipif(VERSION not in INSTRUCTIONS, reason="no figures for this Python yet")
@pytest.mark.parametrize(("kind", "place"), [("quiet", 0), ("logged", 1), ("exported", 2)])
def test_a_request_costs_what_it_did(counted: dict[str, Any], kind: str, place: int) -> None:
    assert counted[kind] == pytest.approx(INSTRUCTIONS[VERSION][place], rel=BAND)


def test_between_the_loop_and_a_handler_there_are_no_more_frames_than_there_were(
    counted: dict[str, Any],
) -> None:
    assert counted["callers"] == (BEGINNING if VERSION >= (3, 12) else []) + CALLERS


def test_a_start_loads_no_more_of_the_project_than_it_did(counted: dict[str, Any]) -> None:
    ours = [name for name in counted["modules"] if name.split(".")[0] == "agentserver"]
    assert len(ours) == pytest.approx(MODULES, rel=BAND)
    assert not UNWANTED_OURS & {name.split(".")[1] for name in ours if "." in name}
    assert not LATE & set(ours)


def test_a_start_loads_nothing_that_it_does_not_use(counted: dict[str, Any]) -> None:
    assert not UNWANTED & {name.split(".")[0] for name in counted["modules"]}
