"""From samples to the tables of docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .measure import Sample
from .plan import CASES, EARLIER, TARGETS, YARDSTICK, Load, Probe, Server, Target

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"
ABSOLUTE = {"endurance"}  # a ratio of two figures that ought to be nothing says nothing


@dataclass(frozen=True)
class Figure:
    """One server in one case: its own value, and its ratio to the yardstick round by round."""

    value: float
    ratio: float
    least: float
    most: float
    more: dict[str, float]


class Summary:
    """The samples of a run, ordered."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.cases = [case for case in CASES if any(s.case == case.name for s in samples)]
        self.servers = list(dict.fromkeys(s.server for s in samples))

    def figure(self, case: str, server: str, against: str = YARDSTICK) -> Figure | None:
        """What `server` showed in `case`; None where it, or what it is held against, was not measured."""
        rounds = {s.round: s.value for s in self.samples if (s.case, s.server) == (case, against)}
        own = [s for s in self.samples if (s.case, s.server) == (case, server)]
        ratios = [s.value / rounds[s.round] for s in own if rounds.get(s.round)]
        if not ratios and not (own and case in ABSOLUTE):
            return None
        ratios = ratios or [0.0]
        more = {name: median(s.more[name] for s in own) for name in own[0].more}
        return Figure(median(s.value for s in own), median(ratios), min(ratios), max(ratios), more)


def tables(summary: Summary, about: dict[str, Any]) -> str:
    """The part of docs/performance.md that a run writes."""
    parts = [_about(about), _ratios(summary), _revisions(summary), _targets(summary), _figures(summary)]
    return "\n\n".join(part for part in parts if part)


def put_between_markers(page: str, part: str, begin: str = BEGIN, end: str = END) -> str:
    """`page` with what stands between the markers replaced by `part`."""
    inside = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not inside.search(page):
        raise SystemExit(f"the page has no {begin} ... {end} to write between")
    return inside.sub(lambda _: f"{begin}\n{part}\n{end}", page)


def _about(about: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"Measured on {about['date']}: {about['cpu']}, {about['cores']} cores, {about['system']}, "
        f"Python {about['python']}; {packages}. {about['rounds']} rounds of {about['seconds']} s, "
        f"the servers' order turned with each; load average at the start {about['load_average']}."
    )


def _ratios(summary: Summary) -> str:
    rows = [["", *summary.servers]]
    for case in summary.cases:
        if case.name not in ABSOLUTE:
            cells = (summary.figure(case.name, server) for server in summary.servers)
            rows.append([case.title, *(_ratio(cell) if cell else "" for cell in cells)])
    text = f"Cost as a ratio to `{YARDSTICK}` in the same round: the median (least–most of the rounds)."
    return f"{text}\n\n{_table(rows)}"


def _revisions(summary: Summary) -> str:
    pairs = [(was.removesuffix(EARLIER), was) for was in summary.servers if was.endswith(EARLIER)]
    if not pairs:
        return ""
    rows = [["", *(now for now, _ in pairs)]]
    for case in summary.cases:
        if case.name not in ABSOLUTE:
            cells = (summary.figure(case.name, now, was) for now, was in pairs)
            rows.append([case.title, *(_ratio(cell) if cell else "" for cell in cells)])
    return f"Now as a ratio to before, in the same round.\n\n{_table(rows)}"


def _ratio(figure: Figure) -> str:
    if figure.least == figure.most == 1:
        return "1"
    return f"**{figure.ratio:.2f}** ({figure.least:.2f}–{figure.most:.2f})"


def _targets(summary: Summary) -> str:
    rows = [["Figure to reach", "server", "at most", "measured", ""]]
    for target in TARGETS:
        figure = summary.figure(target.case, target.server, target.against)
        if figure is not None:
            measured = _measured(target, figure, summary)
            unit = _case(target.case).unit
            at_most, shown = (
                f"{number:+.1f} {unit}" if target.above else f"{number:.2f}{_of(target)}"
                for number in (target.at_most, measured)
            )
            rows.append(
                [
                    _case(target.case).title,
                    target.server,
                    at_most,
                    shown,
                    "yes" if measured <= target.at_most else "**no**",
                ]
            )
    return _table(rows) if len(rows) > 1 else ""


def _of(target: Target) -> str:
    return "" if target.against == YARDSTICK else f" of {target.against}"


def _measured(target: Target, figure: Figure, summary: Summary) -> float:
    if not target.above:
        return figure.ratio
    yardstick = summary.figure(target.case, YARDSTICK)
    return figure.value - (yardstick.value if yardstick and target.case not in ABSOLUTE else 0)


def _figures(summary: Summary) -> str:
    rows = [["case", "server", "figure", "per second", "p50", "p99", "server busy", "client busy"]]
    for case in summary.cases:
        for server in summary.servers:
            figure = summary.figure(case.name, server)
            if figure is not None:
                unit = case.unit if isinstance(case, Probe) else f"µs of CPU per {case.unit}"
                rows.append([case.title, server, f"{figure.value:.1f} {unit}", *_beside(figure.more)])
    text = "The figures behind the ratios (medians over the rounds; busy is the share of its core)."
    return f"<details><summary>{text}</summary>\n\n{_table(rows)}\n\n</details>"


def _beside(more: dict[str, float]) -> list[str]:
    if "per_second" not in more:
        return ["", "", "", "", ""]
    times = (f"{more[name]:,.0f} µs" for name in ("p50_us", "p99_us"))
    shares = (f"{more[name]:.0%}" for name in ("server_busy", "client_busy"))
    return [f"{more['per_second']:,.0f}", *times, *shares]


def _case(name: str) -> Load | Probe:
    return next(case for case in CASES if case.name == name)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


def chosen(servers: Sequence[Server], names: str | None, quick: bool) -> list[Server]:
    """The servers of the run; the yardstick is always among them."""
    wanted = [s for s in servers if (s.name in names.split(";") if names else s.quick or not quick)]
    return wanted if any(s.name == YARDSTICK for s in wanted) else [servers[0], *wanted]
