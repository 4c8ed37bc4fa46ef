"""CONTRIBUTING.md speaks of targets, files and hooks that are there."""

from __future__ import annotations

import re

import pytest

from tests.servers import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
NAMED = re.findall(r"`([\w./-]+\.(?:md|py|toml|yaml)|\w+/[\w./-]+\.py)`", PAGE)


def test_every_target_it_names_is_in_the_makefile() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)", PAGE))
    assert {"test", "lint", "types", "test-one"} <= named
    assert named - TARGETS == set()


@pytest.mark.parametrize("name", sorted(set(NAMED)))
def test_every_file_it_names_is_there(name: str) -> None:
    assert any((folder / name).exists() for folder in (ROOT, ROOT / "agentserver"))


def test_no_line_is_longer_than_140_characters() -> None:
    assert [line for line in PAGE.splitlines() if len(line) > 140] == []


def test_the_hooks_run_what_the_environment_has_and_fetch_nothing() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]
    assert set(re.findall(r"language: (\S+)", hooks)) == {"system"}
    assert all(entry.startswith(".venv/bin/") for entry in re.findall(r"entry: (\S+)", hooks))
