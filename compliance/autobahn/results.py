"""What the suite found, counted: `wstest` itself exits with 0 whatever it found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

SECTIONS: Mapping[int, str] = {
    1: "Framing",
    2: "Pings and Pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Closing",
    9: "Large messages, many messages",
    10: "Frames of the server's own making",
    12: "Compression, of several kinds of data",
    13: "Compression, with several parameters",
}
CASES = 517
NON_STRICT = 4
VERDICTS = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED")

Counts = Mapping[int, Counter[str]]


def count(reports: Iterable[Path]) -> Counts:
    """The verdicts of each section; a case counts by the worse of its behaviour and its closing."""
    sections = {section: Counter[str]() for section in SECTIONS}
    for report in reports:
        (cases,) = json.loads(report.read_text()).values()
        for case, found in cases.items():
            verdicts = {found["behavior"], found["behaviorClose"]}
            worst = max(verdicts, key=lambda v: VERDICTS.index(v) if v in VERDICTS else len(VERDICTS))
            known = worst if worst in VERDICTS else "FAILED"  # WRONG CODE, UNCLEAN, FAILED BY CLIENT
            sections[int(case.split(".")[0])][known] += 1
    return sections


def misses(sections: Counts, *, whole: bool = True) -> list[str]:
    """What keeps these results from being good enough; *whole* if they are to be of all cases."""
    total = sum(sections.values(), Counter[str]())
    found = [f"{total[verdict]} cases are {verdict}" for verdict in VERDICTS[3:] if total[verdict]]
    if total["NON-STRICT"] > NON_STRICT:
        found.append(f"{total['NON-STRICT']} cases are NON-STRICT, and at most {NON_STRICT} may be")
    if whole and total.total() != CASES:
        found.append(f"{total.total()} cases were judged instead of {CASES}")
    return found


def table(sections: Counts) -> str:
    """The results by section."""
    head = ["Section", "Cases", *(verdict.lower() if verdict != "OK" else verdict for verdict in VERDICTS)]
    rows = [head, ["---"] + ["--:"] * (len(head) - 1)]
    for section, name in SECTIONS.items():
        rows.append(_row(f"{section} {name}", sections[section]))
    rows.append(_row("all", sum(sections.values(), Counter[str]())))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(name: str, counts: Counter[str]) -> list[str]:
    return [name, str(sum(counts.values())), *(str(counts[verdict]) for verdict in VERDICTS)]
