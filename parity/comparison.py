"""Compare two servers case by case: what the one answers otherwise than the other.

Bodies that are JSON are compared as JSON, error envelopes by their code, media types without parameters, and
close events by their codes. Whether a body was announced by its length or sent in chunks is not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from agentserver.conformance.expectation import differs, is_list, is_object
from agentserver.conformance.judge import Outcome, judge
from agentserver.conformance.observation import Observation, json_body, normalise
from agentserver.conformance.requirement import load_requirements
from agentserver.wire import SERVER_HEADER

ABSENT = "<absent>"
_FRAMING = {"content-length", "transfer-encoding"}


@dataclass(frozen=True)
class Recording:
    """What a server answered once.

    Args:
        name: The name in tables and file names, such as ``python-1.2.0``.
        about: What was recorded, and how.
        version: The version of the server.
        recorded: The day, ``YYYY-MM-DD``.
        cases: The records by case id.
        verdicts: The outcome of each requirement by id, as the run gave them; empty where it was recorded
            without the kit, and only what the records show can be judged.
    """

    name: str
    about: str
    version: str
    recorded: str
    cases: Mapping[str, Mapping[str, Any]]
    verdicts: Mapping[str, str] = field(default_factory=dict[str, str])

    def outcome(self, requirement: str) -> str:
        """``held``, ``missed``, or ``left out`` where nothing was recorded that tells."""
        if self.verdicts:
            return self.verdicts.get(requirement, Outcome.LEFT_OUT.value)
        asked = load_requirements()[requirement]
        if asked.case not in self.cases:
            return Outcome.LEFT_OUT.value
        return judge(asked, Observation.from_record(self.cases[asked.case])).outcome.value


def load_recording(path: Path) -> Recording:
    """Read a recording.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no recording.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    try:
        cases = {record["id"]: record for record in document["cases"]}
        about, version, recorded = (str(document[name]) for name in ("about", "version", "recorded"))
    except (KeyError, TypeError) as missing:
        raise ValueError(f"{path.name} is no recording of a server: it has no {missing}") from missing
    return Recording(path.stem, about, version, recorded, cases, document.get("verdicts", {}))


@dataclass(frozen=True)
class Difference:
    """One place where two servers differ."""

    case: str
    place: str
    ours: str
    theirs: str


def compare(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[Difference]:
    """The differences between two records of one case."""
    pairs = zip_longest(_answers(ours), _answers(theirs), fillvalue=dict[str, str]())
    return [
        Difference(ours["id"], place, one.get(place, ABSENT), other.get(place, ABSENT))
        for one, other in pairs
        for place in sorted({**one, **other})
        if one.get(place, ABSENT) != other.get(place, ABSENT)
    ]


def _answers(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """The places of each answer, and those of the close events."""
    seen = Observation.from_record(record)
    events = [
        {name: value for name, value in event.items() if name in ("close_code", "error_code")}
        for event in seen.events()
    ]
    answers = [dict(_leaves(_comparable(answer), "")) for answer in seen.results]
    return [*answers, dict(_leaves({"close event": events}, ""))]


def _comparable(answer: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in answer.items() if name != "headers"}
    headers = answer.get("headers", {})
    kept["headers"] = {name: normalise(value) for name, value in headers.items() if name not in _FRAMING}
    if "content-type" in headers:
        kept["headers"]["content-type"] = headers["content-type"].split(";")[0].lower()
    if SERVER_HEADER in headers:
        kept["headers"][SERVER_HEADER] = "<server identity>"
    document = json_body(answer)
    if is_object(document) or is_list(document):
        kept["body"] = _without_wording(document)
    kept["frames"] = [_comparable_frame(frame) for frame in answer.get("frames", [])]
    return kept


def _without_wording(document: Any) -> Any:
    """An error envelope is its code: how its message is worded is no difference."""
    error = document.get("error") if is_object(document) else None
    return f"error {error.get('code')}" if is_object(error) else document


def _comparable_frame(frame: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {**frame, "text": json.loads(frame["text"])}
    except (KeyError, ValueError):
        return dict(frame)


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    members: Iterable[tuple[Any, Any]]
    if is_object(value):
        members = value.items()
    elif is_list(value):
        members = enumerate(value)
    else:
        yield place, value if isinstance(value, str) else json.dumps(value)
        return
    for name, member in members:
        yield from _leaves(member, f"{place}.{name}" if place else str(name))


# --- the listed differences


@dataclass(frozen=True)
class Listed:
    """A difference that is known, and why it is there.

    Args:
        place: Where, without the number of the answer: ``status``, ``headers.allow``, ``body.session_id``.
        ours: What ours answers, in the words of ``expectation``; ``<absent>`` for nothing.
        theirs: What the peer answers.
        cases: The cases that show it, by the name of the peer's recording.
        reason: Why ours differs.
    """

    place: str
    ours: str
    theirs: str
    cases: Mapping[str, Sequence[str]]
    reason: str

    def covers(self, peer: str, difference: Difference) -> bool:
        """Whether this is the difference."""
        return (
            difference.case in self.cases.get(peer, ())
            and difference.place == self.place
            and differs(self.ours, difference.ours, "") is None
            and differs(self.theirs, difference.theirs, "") is None
        )


@dataclass(frozen=True)
class Missed:
    """Requirements that a peer does not hold, and why ours asks for them.

    Args:
        requirements: Their ids.
        peers: The names of the recordings.
        reason: What the peer does, and why ours differs.
    """

    requirements: Sequence[str]
    peers: Sequence[str]
    reason: str


@dataclass(frozen=True)
class Known:
    """All differences that are known.

    Args:
        missed: Of requirements.
        listed: Of answers, whether a requirement asks about them or not.
    """

    missed: Sequence[Missed]
    listed: Sequence[Listed]


def load_known(path: Path) -> Known:
    """Read the known differences.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no JSON.
    """
    document = json.loads(path.read_text(encoding="utf-8"))
    return Known([Missed(**row) for row in document["missed"]], [Listed(**row) for row in document["listed"]])


def problems(ours: Recording, peers: Sequence[Recording], known: Known) -> list[str]:
    """What the known differences do not say, and what they say that is not so; one sentence each. Pure."""
    common = set(ours.cases).intersection(*(peer.cases for peer in peers))
    found: list[str] = []
    for peer in peers:
        differences = [d for case in sorted(common) for d in compare(ours.cases[case], peer.cases[case])]
        found += _answer_problems(peer.name, differences, known.listed)
        found += _requirement_problems(peer, known.missed)
    return found


def _answer_problems(peer: str, differences: Sequence[Difference], listed: Sequence[Listed]) -> Iterator[str]:
    shown: set[tuple[int, str]] = set()
    for difference in differences:
        rows = {(index, difference.case) for index, row in enumerate(listed) if row.covers(peer, difference)}
        shown |= rows
        if not rows:
            yield (
                f"{peer}: {difference.case}: {difference.place} is {difference.ours!r} here and "
                f"{difference.theirs!r} there, which is not listed"
            )
    for index, row in enumerate(listed):
        for case in row.cases.get(peer, ()):
            if (index, case) not in shown:
                yield f"{peer}: {case}: {row.place} is listed and differs no more"


def _requirement_problems(theirs: Recording, missed: Sequence[Missed]) -> Iterator[str]:
    reasons = [name for row in missed if theirs.name in row.peers for name in row.requirements]
    really = {name for name in load_requirements() if theirs.outcome(name) == Outcome.MISSED.value}
    for name in sorted(really - set(reasons)):
        yield f"{theirs.name}: {name} is missed, and no reason is given"
    for name in sorted(set(reasons) - really):
        yield f"{theirs.name}: {name} has a reason and is not missed"
    for name in sorted({name for name in reasons if reasons.count(name) > 1}):
        yield f"{theirs.name}: {name} has two reasons"
