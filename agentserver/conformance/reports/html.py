"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape

from agentserver.conformance.judge import Outcome, Verdict
from agentserver.conformance.reports.report import Report

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --held: #1a7f37; --missed: #cf222e; --out: #6e7781; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } code { font-size: .92em; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top; }
.held { color: var(--held); }
.missed { color: var(--missed); font-weight: 600; }
.left-out { color: var(--out); }
.reason { display: block; font-size: .9em; overflow-wrap: anywhere; }
"""
_CLASSES = {Outcome.HELD: "held", Outcome.MISSED: "missed", Outcome.LEFT_OUT: "left-out"}


def html_page(report: Report) -> str:
    """The report as a page: the summary, the misses first, then every requirement."""
    order = [*report.having(Outcome.MISSED), *report.having(Outcome.HELD), *report.having(Outcome.LEFT_OUT)]
    word = "conforms" if report.passed else "does not conform"
    rows = "\n".join(_row(verdict) for verdict in order)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Conformance of {escape(report.target)}</title><style>{_STYLE}</style></head><body>
<h1><code>{escape(report.target)}</code> {word}</h1>
<p>{escape(report.summary)}. The server calls itself <code>{escape(report.identity or "nothing")}</code>.</p>
<table><thead><tr><th>Outcome</th><th>Requirement</th><th>What a conforming server does</th>
<th>Contract</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def _row(verdict: Verdict) -> str:
    requirement = verdict.requirement
    reason = f'<span class="reason">{escape(verdict.reason)}</span>' if verdict.reason else ""
    return (
        f'<tr><td class="{_CLASSES[verdict.outcome]}">{verdict.outcome.value}</td>'
        f"<td><code>{escape(requirement.id)}</code></td>"
        f"<td>{escape(requirement.sentence)}{reason}</td>"
        f"<td>{escape(requirement.clause)}, {requirement.level.value}</td></tr>"
    )
