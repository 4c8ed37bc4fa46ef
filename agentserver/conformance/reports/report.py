"""What a run found, ready to be written down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agentserver.conformance.judge import Outcome, Verdict
from agentserver.conformance.runner import counts, passed


@dataclass(frozen=True)
class Report:
    """The verdicts of one run.

    Args:
        target: The command or the URL that was judged.
        identity: What the server calls itself in ``x-platform-server``.
        verdicts: One for each requirement that was asked for.
        seconds: How long the run took.
    """

    target: str
    identity: str
    verdicts: tuple[Verdict, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether no *must* was missed."""
        return passed(self.verdicts)

    def having(self, outcome: Outcome) -> list[Verdict]:
        """The verdicts of one outcome."""
        return [verdict for verdict in self.verdicts if verdict.outcome is outcome]

    @property
    def summary(self) -> str:
        """One sentence: how many were held, missed and left out."""
        totals = counts(self.verdicts)
        return (
            ", ".join(f"{totals[outcome]} {outcome.value}" for outcome in Outcome)
            + f" in {self.seconds:.1f} s"
        )

    def to_json(self) -> str:
        """The report as JSON: the same facts, for programs."""
        document: dict[str, Any] = {
            "target": self.target,
            "identity": self.identity,
            "passed": self.passed,
            "counts": {outcome.value: number for outcome, number in counts(self.verdicts).items()},
            "seconds": round(self.seconds, 1),
            "requirements": [_row(verdict) for verdict in self.verdicts],
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _row(verdict: Verdict) -> dict[str, str]:
    requirement = verdict.requirement
    row = {
        "id": requirement.id,
        "clause": requirement.clause,
        "level": requirement.level.value,
        "sentence": requirement.sentence,
        "case": requirement.case,
        "outcome": verdict.outcome.value,
    }
    return {**row, "reason": verdict.reason} if verdict.reason else row
