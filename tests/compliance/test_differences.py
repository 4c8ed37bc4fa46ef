"""What may differ between aiohttp's server and ours, and what the suite says when that is not so."""

from __future__ import annotations

import json

from compliance.aiohttp.differences import LIST, differences, judge, read_list

THEIRS = {"tests/a.py::f[pyloop]": "passed", "tests/a.py::g": "failed", "tests/a.py::h": "skipped"}


def test_what_is_good_there_and_not_here_is_a_difference() -> None:
    assert differences(THEIRS, {**THEIRS, "tests/a.py::f[pyloop]": "failed"}) == {"tests/a.py::f[pyloop]"}
    assert differences(THEIRS, THEIRS) == set()


def test_what_did_not_run_here_is_a_difference() -> None:
    assert differences(THEIRS, {}) == {"tests/a.py::f[pyloop]", "tests/a.py::h"}


def test_a_listed_function_stands_for_its_parameters_on_both_loops() -> None:
    found = ["tests/a.py::f[pyloop-1]", "tests/a.py::f[x-uvloop-2]", "tests/a.py::f"]
    assert judge(found, ["a.py::f"]) == ([], [])


def test_a_listed_parameter_stands_for_itself_on_both_loops() -> None:
    found = ["tests/a.py::f[pyloop-1]", "tests/a.py::f[uvloop-1]", "tests/a.py::f[uvloop-2]"]
    assert judge(found, ["a.py::f[loop-1]"]) == (["tests/a.py::f[uvloop-2]"], [])


def test_an_unlisted_difference_and_a_listed_one_that_is_gone_are_both_told() -> None:
    assert judge(["tests/a.py::f"], ["a.py::g"]) == (["tests/a.py::f"], ["a.py::g"])


def test_a_longer_name_is_another_test() -> None:
    assert judge(["tests/a.py::f_too"], ["a.py::f"]).unlisted == ["tests/a.py::f_too"]


def test_the_list_names_each_test_once_and_gives_each_a_reason() -> None:
    listed = read_list()
    assert len(listed) == len(set(listed))
    assert all(reason.endswith(".") for reason in json.loads(LIST.read_text()))
