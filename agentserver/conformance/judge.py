"""Ask every requirement about what was observed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from agentserver.conformance.checks import CHECKS
from agentserver.conformance.expectation import UnobservableError, missed
from agentserver.conformance.observation import NOT_RECORDED, Observation
from agentserver.conformance.requirement import Level, Requirement


class Outcome(str, Enum):
    """What became of a requirement."""

    HELD = "held"
    MISSED = "missed"
    LEFT_OUT = "left out"


@dataclass(frozen=True)
class Verdict:
    """What became of one requirement, and why.

    Args:
        requirement: The requirement.
        outcome: What became of it.
        reason: Why, if it was missed or left out.
    """

    requirement: Requirement
    outcome: Outcome
    reason: str = ""

    @property
    def fatal(self) -> bool:
        """Whether this verdict alone fails the run."""
        return self.outcome is Outcome.MISSED and self.requirement.level is Level.MUST


def judge(requirement: Requirement, seen: Observation) -> Verdict:
    """Ask one requirement about the observation of its case. Pure."""
    try:
        problem = missed(requirement.expect, seen) if requirement.expect else None
        if problem is None and requirement.id in CHECKS:
            problem = CHECKS[requirement.id](seen)
    except UnobservableError as missing:
        return Verdict(requirement, Outcome.LEFT_OUT, str(missing))
    except (LookupError, TypeError) as broken:
        if seen.recorded and NOT_RECORDED & set(broken.args):
            return Verdict(requirement, Outcome.LEFT_OUT, "needs what a recording does not keep")
        # A check reads members that a wrong answer need not have.
        problem = f"the answer has not the shape that was asked for ({type(broken).__name__}: {broken})"
    return Verdict(requirement, Outcome.MISSED if problem else Outcome.HELD, problem or "")


def judge_all(
    requirements: Iterable[Requirement], seen: Mapping[str, Observation], left_out: Mapping[str, str]
) -> list[Verdict]:
    """A verdict for each requirement; *left_out* says by case id why there is no observation."""
    verdicts: list[Verdict] = []
    for requirement in requirements:
        observation = seen.get(requirement.case)
        if observation is None:
            reason = left_out.get(requirement.case, "was not run")
            verdicts.append(Verdict(requirement, Outcome.LEFT_OUT, reason))
        else:
            verdicts.append(judge(requirement, observation))
    return verdicts
