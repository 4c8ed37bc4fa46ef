"""The recordings of other servers, and how two recordings are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentserver.conformance import load_requirements
from parity.comparison import (
    Difference,
    Known,
    Listed,
    Missed,
    Recording,
    compare,
    load_recording,
    problems,
)
from parity.page import load_peers, main

ROOT = Path(__file__).parents[2]
PEERS = load_peers(ROOT / "parity" / "recordings")


def test_all_servers_were_recorded_with_their_versions_and_days() -> None:
    assert [peer.name for peer in PEERS] == ["dotnet-1.0.0-beta-rebuilt", "python-1.0.0b4", "python-1.2.0"]
    for peer in PEERS:
        assert any(digit in peer.version for digit in "0123456789")
        assert "20" in peer.recorded
        assert len(peer.cases) >= 54


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.verdicts], ids=lambda peer: peer.name)
def test_the_verdicts_of_a_recording_are_those_of_today(peer: Recording) -> None:
    """A requirement that changed since is found here, as far as the records show what it asks about."""
    judged = replace(peer, verdicts={})
    missed = {name for name, outcome in peer.verdicts.items() if outcome == "missed"}
    for name in load_requirements():
        if judged.outcome(name) == "missed":
            assert name in missed, f"{name}: run make parity"
    assert set(peer.verdicts) == set(load_requirements()), "run make parity"


# --- the comparison itself


def _record(status: int, **headers: str) -> dict[str, Any]:
    return {"id": "case", "results": [{"status": status, "headers": headers, "body": "x"}]}


def _recording(record: Mapping[str, Any], name: str = "peer") -> Recording:
    verdicts = dict.fromkeys(load_requirements(), "held")
    return Recording(name, "about", "1.0", "2026-01-01", {"case": record}, verdicts)


NOTHING = Known([], [])


def test_equal_records_have_no_difference() -> None:
    assert compare(_record(200), _record(200)) == []


def test_a_difference_names_its_place_and_both_values() -> None:
    assert compare(_record(200, allow="GET"), _record(404)) == [
        Difference("case", "headers.allow", "GET", "<absent>"),
        Difference("case", "status", "200", "404"),
    ]


def test_how_a_body_was_framed_and_json_was_spaced_is_no_difference() -> None:
    one = {"id": "case", "results": [{"headers": {"content-length": "9"}, "body": '{"a": 1}'}]}
    other = {"id": "case", "results": [{"headers": {"transfer-encoding": "chunked"}, "body": '{"a":1}'}]}
    assert compare(one, other) == []


def test_an_answer_that_is_not_there_is_a_difference() -> None:
    assert compare(_record(200), {"id": "case", "results": []}) != []


def test_an_unlisted_difference_is_a_problem() -> None:
    found = problems(_recording(_record(200)), [_recording(_record(404))], NOTHING)
    assert found == ["peer: case: status is '200' here and '404' there, which is not listed"]


def test_a_listed_difference_is_none_and_one_that_is_gone_is_a_problem() -> None:
    row = Listed("status", "200", "404", {"peer": ["case"]}, "because")
    known = Known([], [row])
    assert problems(_recording(_record(200)), [_recording(_record(404))], known) == []
    assert problems(_recording(_record(200)), [_recording(_record(200))], known) == [
        "peer: case: status is listed and differs no more"
    ]


def test_another_value_than_the_listed_one_is_a_problem() -> None:
    known = Known([], [Listed("status", "200", "404", {"peer": ["case"]}, "because")])
    assert len(problems(_recording(_record(201)), [_recording(_record(404))], known)) == 2


def test_a_missed_requirement_needs_exactly_one_reason_and_a_reason_a_miss() -> None:
    peer = _recording(_record(200))
    missing = replace(peer, verdicts={**peer.verdicts, "routes.get": "missed"})
    reason = Missed(["routes.get"], ["peer"], "because")
    ours = _recording(_record(200))
    assert problems(ours, [missing], NOTHING) == ["peer: routes.get is missed, and no reason is given"]
    assert problems(ours, [missing], Known([reason], [])) == []
    assert problems(ours, [missing], Known([reason, reason], [])) == ["peer: routes.get has two reasons"]
    assert problems(ours, [peer], Known([reason], [])) == ["peer: routes.get has a reason and is not missed"]


def test_a_file_that_is_no_recording_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"cases": []}')
    with pytest.raises(ValueError, match=r"x\.json is no recording of a server"):
        load_recording(path)


def test_the_command_writes_the_page_and_fails_on_what_is_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "differences.json").write_text('{"missed": [], "listed": []}')
    form = {"version": "1", "about": "a", "recorded": "2026-01-01", "verdicts": {"routes.get": "held"}}
    ours, peer = tmp_path / "ours.json", tmp_path / "recordings" / "peer.json"
    ours.write_text(json.dumps({**form, "cases": [_record(200)]}))
    peer.write_text(json.dumps({**form, "cases": [_record(404)]}))
    target = tmp_path / "parity.md"
    assert main([str(ours), str(tmp_path), str(target)]) == 1
    assert "status is '200' here and '404' there" in capsys.readouterr().out
    assert (
        "| `routes.get` | GET /invocations/{id} reaches the handler. (1) | yes | yes |" in target.read_text()
    )
    peer.write_text(ours.read_text())
    assert main([str(ours), str(tmp_path), str(target)]) == 0
