"""Requirements and cases: what a server owes, and the stimulus that shows whether it pays.

Both are data in ``data/*.json``; a requirement names its case by id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib import resources
from typing import Any

Step = Mapping[str, Any]


class Level(str, Enum):
    """How binding a requirement is: only a missed *must* fails a run."""

    MUST = "must"
    SHOULD = "should"


@dataclass(frozen=True)
class Case:
    """One stimulus against one server.

    Args:
        id: The name, unique over all files.
        steps: What is done, in order; see ``docs/conformance.md`` for the vocabulary.
        handler: The shape of the reference agent (``PARITY_HANDLER``).
        env: Environment variables of the server beyond ``PORT`` and ``PARITY_HANDLER``.
        fresh: The server is started for this case alone, because the case ends it or counts its lines.
        starts: The server becomes ready; ``False`` where the environment is meant to stop it.
        log: A requirement asks what the server printed, so all of it is waited for.
        any_agent: The case needs nothing of the reference agent: any agent can be asked.
        raw: Volatile values are kept in a recording instead of being normalised.
    """

    id: str
    steps: Sequence[Step]
    handler: str = "full"
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    fresh: bool = False
    starts: bool = True
    log: bool = False
    any_agent: bool = False
    raw: bool = False

    @property
    def environment(self) -> tuple[str, tuple[tuple[str, str], ...], str]:
        """What two cases must share to share a server process."""
        alone = self.fresh or not self.starts
        return self.handler, tuple(sorted(self.env.items())), self.id if alone else ""


@dataclass(frozen=True)
class Requirement:
    """One sentence of the contract that can be seen from outside.

    Args:
        id: The name in reports, ``section.topic``.
        clause: The section of ``docs/wire-contract.md``.
        level: Whether a miss fails the run.
        sentence: What a conforming server does.
        case: The id of the case that shows it.
        expect: What the observation must match; empty where a function of ``checks`` decides.
    """

    id: str
    clause: str
    level: Level
    sentence: str
    case: str
    expect: Mapping[str, Any] = field(default_factory=dict[str, Any])


@cache
def load_cases() -> Mapping[str, Case]:
    """All cases by id, in the order of the files.

    Raises:
        ValueError: If two cases have the same id.
    """
    cases: dict[str, Case] = {}
    for document in _documents():
        for row in document.get("cases", []):
            case = Case(**row)
            if case.id in cases:
                raise ValueError(f"two cases are called {case.id}")
            cases[case.id] = case
    return cases


@cache
def load_requirements() -> Mapping[str, Requirement]:
    """All requirements by id, in the order of the files.

    Raises:
        ValueError: If two requirements have the same id.
    """
    requirements: dict[str, Requirement] = {}
    for document in _documents():
        for row in document.get("requirements", []):
            fields: dict[str, Any] = {**row, "level": Level(row["level"])}
            requirement = Requirement(**fields)
            if requirement.id in requirements:
                raise ValueError(f"two requirements are called {requirement.id}")
            requirements[requirement.id] = requirement
    return requirements


def _documents() -> Iterator[dict[str, Any]]:
    folder = resources.files("agentserver.conformance") / "data"
    for entry in sorted(folder.iterdir(), key=lambda file: file.name):
        if entry.name.endswith(".json"):
            yield json.loads(entry.read_text(encoding="utf-8"))
