"""What importing the package does to the garbage collector: it rests meanwhile, and is then as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.servers import ROOT

PROGRAM = """
import gc, json, sys
seen = []
gc.callbacks.append(lambda phase, info: seen.append(phase))
def state():
    return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0
{before}
was = state()
seen.clear()
from agentserver import InvocationHandler
looked = len(seen)
print(json.dumps({{
    "looked": looked,
    "as it was": state() == was,
    "finds": any(thing is InvocationHandler for thing in gc.get_objects()),
}}))
"""
PLANS = {
    "none": "",
    "off": "gc.disable()",
    "frozen": "gc.freeze()",
}

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="others have collectors of another kind"
)


def after_an_import(plan: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=PLANS[plan])],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_collector_rests_while_the_package_is_imported_and_is_then_as_it_was() -> None:
    found = after_an_import("none")
    # Two looks, begun and ended, are left for what runs before and after.
    assert found == {"looked": found["looked"], "as it was": True, "finds": True}
    assert found["looked"] <= 4


@pytest.mark.parametrize("plan", ["off", "frozen"])
def test_a_collector_of_which_its_user_has_other_plans_is_left_alone(plan: str) -> None:
    found = after_an_import(plan)
    assert found["as it was"]
    assert (found["looked"] > 4) is (plan == "frozen")
