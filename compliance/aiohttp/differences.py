"""What passes on aiohttp's server and not on ours: told from what is listed, with a reason each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

LIST = Path(__file__).parent / "differences.json"
"""Reasons, and the tests each is good for: a function's name stands for all its parameters."""

_LOOP = re.compile(r"(?<=[\[-])(pyloop|uvloop)(?=[\]-])")
_GOOD = ("passed", "xfailed", "skipped")


class Verdict(NamedTuple):
    """What is wrong with the list.

    Args:
        unlisted: Tests that pass on aiohttp's server alone, without a reason.
        stale: Names on the list for which there is no difference any more.
    """

    unlisted: list[str]
    stale: list[str]


def differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> set[str]:
    """The tests that are good on aiohttp's server and not, or not at all, on ours.

    Args:
        theirs: The outcome of each test on aiohttp's server.
        ours: The same on ours.
    """
    return {test for test, outcome in theirs.items() if outcome in _GOOD and ours.get(test) not in _GOOD}


def read_list(path: Path = LIST) -> list[str]:
    """The tests that may differ."""
    reasons: dict[str, list[str]] = json.loads(path.read_text())
    return [test for tests in reasons.values() for test in tests]


def judge(found: Iterable[str], listed: Iterable[str]) -> Verdict:
    """Compare what differs with what may.

    Args:
        found: The tests that differ, on any loop.
        listed: The names on the list.
    """
    found, listed = sorted(found), sorted(listed)
    covered = {name: [test for test in found if _is_about(name, test)] for name in listed}
    known = {test for tests in covered.values() for test in tests}
    return Verdict(
        [test for test in found if test not in known], [name for name, tests in covered.items() if not tests]
    )


def _is_about(name: str, test: str) -> bool:
    test = _LOOP.sub("loop", test.removeprefix("tests/"))
    return test == name or test.startswith(f"{name}[")
