"""The data of the kit holds together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agentserver.conformance import load_cases, load_requirements
from agentserver.conformance.checks import CHECKS
from agentserver.conformance.requirement import Requirement

CONTRACT = Path(__file__).parents[2] / "docs" / "wire-contract.md"


@pytest.mark.parametrize("requirement", load_requirements().values(), ids=lambda r: r.id)
def test_every_requirement_has_a_check_and_a_case(requirement: Requirement) -> None:
    assert requirement.expect or requirement.id in CHECKS, "nothing is asked"
    assert requirement.case in load_cases(), "there is no such case"


def test_every_check_has_a_requirement() -> None:
    assert set(CHECKS) <= set(load_requirements())


def test_every_case_shows_a_requirement() -> None:
    shown = {requirement.case for requirement in load_requirements().values()}
    assert set(load_cases()) <= shown


def test_every_requirement_names_a_section_of_the_contract_and_is_a_sentence() -> None:
    sections = set(re.findall(r"^## (\d+)\.", CONTRACT.read_text(encoding="utf-8"), re.MULTILINE))
    for requirement in load_requirements().values():
        assert requirement.clause in sections, requirement.id
        assert requirement.sentence.endswith(".")
        assert re.fullmatch(r"[a-z]+\.[a-z0-9-]+", requirement.id)


def test_every_section_that_can_be_seen_from_outside_has_requirements() -> None:
    assert {requirement.clause for requirement in load_requirements().values()} >= set("12345689")


def test_a_case_whose_log_is_asked_about_waits_for_all_of_it() -> None:
    for requirement in load_requirements().values():
        case = load_cases()[requirement.case]
        assert case.log or "server_output" not in requirement.expect, requirement.id
