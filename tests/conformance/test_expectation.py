"""Data is matched against data, and a miss is a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from agentserver.conformance.expectation import UnobservableError, differs, missed
from agentserver.conformance.observation import Observation

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"

MATCHES: list[tuple[Any, Any]] = [
    ({"a": 1}, {"a": 1, "b": 2}),
    ({"a": {"b": None}}, {"a": {"b": None}}),
    ([1, "x"], [1, "x"]),
    ("~a.*", "abc\nd"),
    ("<uuid>", UUID),
    ("<uuid>", "<uuid>"),
    ("id <hex32>", "id " + "0" * 32),
    ({"a": "<absent>"}, {"b": 1}),
    ({"a": "<any>"}, {"a": 7}),
    ({"<any>": [1, 2]}, 2),
    ({"<each>": {"a": 1}}, [{"a": 1}, {"a": 1, "b": 2}]),
    ({"<json>": {"a": 1}}, '{"a": 1, "b": 2}'),
    ({"<not>": "~.*secret.*"}, "nothing"),
    ({"a": {"<not>": 1}}, {}),
    ({"<count>": 2}, [0, 0]),
]
MISSES: list[tuple[Any, Any, str]] = [
    ({"a": 1}, {"a": 2}, "a is 2, expected 1"),
    ({"a": 1}, {"a": True}, "a is true, expected 1"),
    ({"a": {"b": 1}}, {"a": {}}, "a.b is missing"),
    ({"status": 200}, {"error": "TimeoutError"}, "status is missing (the answer: 'TimeoutError')"),
    ({"a": 1}, [1], " is [1], expected"),
    ([1], [1, 2], " has 2 members instead of 1"),
    ([1], {"a": 1}, "expected [1]"),
    ("~a", "ab", "is 'ab', expected '~a'"),
    ("a", 1, "is 1, expected 'a'"),
    ("<uuid>", "inv-1", "is 'inv-1', expected '<uuid>'"),
    ({"a": "<absent>"}, {"a": 1}, "a is there (1) and should not be"),
    ({"<any>": [1, 2]}, 3, "is 3, expected"),
    ({"<each>": 1}, [], "is [], expected"),
    ({"<each>": 1}, [1, 2], "[1] is 2, expected 1"),
    ({"<json>": {"a": 1}}, "no json", "is not JSON: 'no json'"),
    ({"<not>": "~.*secret.*"}, "a secret", "is 'a secret' and should not be"),
    ({"<count>": 2}, [0], "has 1 members instead of 2"),
]


@pytest.mark.parametrize(("expected", "actual"), MATCHES)
def test_what_matches_has_no_difference(expected: Any, actual: Any) -> None:
    assert differs(expected, actual, "") is None


@pytest.mark.parametrize(("expected", "actual", "sentence"), MISSES)
def test_what_does_not_match_is_told_in_a_sentence(expected: Any, actual: Any, sentence: str) -> None:
    assert sentence in (differs(expected, actual, "") or "")


def test_the_last_answer_is_asked_unless_another_one_is_named() -> None:
    seen = Observation("case", [{"status": 404}, {"status": 200, "body": '{"a": 1}'}])
    assert missed({"status": 200, "json": {"a": 1}, "0": {"status": 404}}, seen) is None
    assert missed({"0": {"status": 200}}, seen) == "0.status is 404, expected 200"


@pytest.mark.parametrize("member", ["close_events", "server_output"])
def test_a_question_to_a_log_that_nobody_has_cannot_be_answered(member: str) -> None:
    with pytest.raises(UnobservableError):
        missed({member: []}, Observation("case", [{}]))
