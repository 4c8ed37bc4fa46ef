"""What is installed: every dependency has its bounds, and the tests run with what is locked."""

from __future__ import annotations

import importlib
import sys
from itertools import chain
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.servers import ROOT

# pytest itself brings tomli where Python does not read TOML.
toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

PROJECT: dict[str, Any] = toml.loads((ROOT / "pyproject.toml").read_text())
METADATA = PROJECT["project"]
GROUPS = PROJECT["dependency-groups"]
INSTALLED: list[str] = [*METADATA["dependencies"], *chain(*METADATA["optional-dependencies"].values())]
# Pipecat wants an older protobuf than telemetry: make voice-test pins it, in an environment of its own.
APART = METADATA["optional-dependencies"]["pipecat"]
TESTED: list[str] = [*(text for text in INSTALLED if text not in APART), *GROUPS["test"], *GROUPS["lint"]]


def locked() -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        requirement = Requirement(line)
        pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


@pytest.mark.parametrize("text", INSTALLED)
def test_what_users_install_has_a_lower_and_an_upper_bound(text: str) -> None:
    operators = {specifier.operator for specifier in Requirement(text).specifier}
    assert operators == {">=", "<"}


def test_all_that_the_tests_install_is_locked_within_its_bounds() -> None:
    pins = locked()
    for text in TESTED:
        requirement = Requirement(text)
        found = pins.get(canonicalize_name(requirement.name))
        assert found, f"{text} is not locked: run 'make lock'"
        for pin in found:
            (version,) = (specifier.version for specifier in pin.specifier)
            assert version in requirement.specifier, f"{text} against {pin}: run 'make lock'"
