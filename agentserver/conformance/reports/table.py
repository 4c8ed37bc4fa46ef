"""The report as a readable text table."""

from __future__ import annotations

from collections.abc import Iterable

from agentserver.conformance.judge import Outcome, Verdict
from agentserver.conformance.reports.report import Report

_MARKS = {Outcome.HELD: "ok", Outcome.MISSED: "MISS", Outcome.LEFT_OUT: "-"}


def table(report: Report, *, verbose: bool = False) -> str:
    """The misses and why cases were left out; with *verbose* every requirement, one line each."""
    lines = [f"{report.target}  ({report.identity or 'no identity'})", ""]
    shown = report.verdicts if verbose else report.having(Outcome.MISSED)
    width = max((len(verdict.requirement.id) for verdict in shown), default=0)
    for verdict in shown:
        lines += _rows(verdict, width)
    lines += [""] if shown else []
    lines += _left_out(report.having(Outcome.LEFT_OUT))
    lines.append(f"{'conforms' if report.passed else 'does not conform'}: {report.summary}")
    return "\n".join(lines) + "\n"


def _rows(verdict: Verdict, width: int) -> list[str]:
    requirement = verdict.requirement
    mark = _MARKS[verdict.outcome]
    rows = [f"{mark:<4} {requirement.level.value:<6} {requirement.id:<{width}}  {requirement.sentence}"]
    if verdict.outcome is Outcome.MISSED:
        rows.append(
            f"{'':<{width + 14}}{verdict.reason}  [contract {requirement.clause}, case {requirement.case}]"
        )
    return rows


def _left_out(verdicts: Iterable[Verdict]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for verdict in verdicts:
        reasons.setdefault(verdict.reason, []).append(verdict.requirement.id)
    if not reasons:
        return []
    rows = [f"  {len(ids):>3}  {reason}: {_some(ids)}" for reason, ids in reasons.items()]
    return ["left out:", *rows, ""]


def _some(ids: list[str]) -> str:
    return ", ".join(ids) if len(ids) <= 3 else f"{', '.join(ids[:3])} and {len(ids) - 3} more"
