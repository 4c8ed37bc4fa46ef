"""A report says the same in four forms."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from agentserver.conformance import Outcome, Requirement, Verdict
from agentserver.conformance.reports import Report, html_page, junit_xml, table
from agentserver.conformance.requirement import Level


def _requirement(name: str, level: Level = Level.MUST) -> Requirement:
    return Requirement(name, "1", level, f"The server does <{name}>.", "case", {"status": 200})


HELD = Verdict(_requirement("routes.held"), Outcome.HELD)
MISSED = Verdict(_requirement("routes.missed"), Outcome.MISSED, "status is 500, expected 200 \x00")
SHOULD = Verdict(_requirement("ids.should", Level.SHOULD), Outcome.MISSED, "it differs")
LEFT_OUT = Verdict(_requirement("ids.left-out"), Outcome.LEFT_OUT, "needs the server's log")


@pytest.fixture
def report() -> Report:
    return Report("http://x", "own/1", (HELD, MISSED, SHOULD, LEFT_OUT), 1.25)


def test_only_a_missed_must_fails(report: Report) -> None:
    assert not report.passed
    assert Report("x", "", (HELD, SHOULD, LEFT_OUT), 0).passed


def test_the_table_shows_misses_with_reasons_and_what_was_left_out(report: Report) -> None:
    text = table(report)
    assert "MISS must   routes.missed" in text
    assert "status is 500, expected 200" in text
    assert "1  needs the server's log: ids.left-out" in text
    assert "does not conform: 1 held, 2 missed, 1 left out" in text
    assert "routes.held" not in text
    assert "routes.held" in table(report, verbose=True)


def test_json_has_every_verdict(report: Report) -> None:
    document = json.loads(report.to_json())
    assert document["passed"] is False
    assert document["counts"] == {"held": 1, "missed": 2, "left out": 1}
    assert [row["outcome"] for row in document["requirements"]] == ["held", "missed", "missed", "left out"]


def test_junit_has_a_failure_for_a_missed_must_alone(report: Report) -> None:
    root = ET.fromstring(junit_xml(report))  # noqa: S314 - the kit's own output
    assert len(root.findall(".//testcase")) == 4
    assert [case.get("classname") for case in root.findall(".//testcase[failure]")] == ["routes.missed"]
    assert len(root.findall(".//testcase[skipped]")) == 2


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(report: Report) -> None:
    page = html_page(report)
    assert "<title>Conformance of http://x</title>" in page
    assert "&lt;routes.missed&gt;" in page
    assert "src=" not in page
    assert "href=" not in page
