"""A release is refused for whatever is not whole, with a sentence that says what to do."""

from __future__ import annotations

import pytest

from hardening.release import foreign, lacking, refusals

CHANGELOG = "# Changelog\n\n## 1.2.0 (2026-12-01)\n\n### Added\n\n## 1.1.0 (2026-11-01)\n"


def test_a_whole_tree_is_not_refused() -> None:
    assert [*refusals("1.2.0", CHANGELOG, "", ["v1.1.0"])] == []


@pytest.mark.parametrize(
    ("version", "changelog", "changes", "tags", "sentence"),
    [
        ("1.2", CHANGELOG.replace("1.2.0", "1.2"), "", [], "1.2 is no version: use MAJOR.MINOR.PATCH, with"),
        ("1.2.0", CHANGELOG, "", ["v1.2.0"], "v1.2.0 is tagged already: raise agentserver/_version.py"),
        ("1.3.0", CHANGELOG, "", [], "CHANGELOG.md does not begin with '## 1.3.0 (YYYY-MM-DD)'"),
        ("1.2.0", CHANGELOG.replace("2026-12-01", "unreleased"), "", [], "CHANGELOG.md says 'unreleased' of"),
        (
            "1.2.0",
            CHANGELOG,
            " M Makefile\n?? new.py\n",
            [],
            "there are changes that are not committed: Makefile",
        ),
    ],
)
def test_what_is_not_whole_is_refused(
    version: str, changelog: str, changes: str, tags: list[str], sentence: str
) -> None:
    (reason,) = refusals(version, changelog, changes, tags)
    assert reason.startswith(sentence)


def test_a_file_that_was_not_packed_and_one_that_does_not_belong_are_named() -> None:
    tracked = {"agentserver/__init__.py", "agentserver/py.typed"}
    packed = ["agentserver/__init__.py", "agentserver/x.pyc", "agentserver_invocations-1.dist-info/METADATA"]
    assert lacking(tracked, packed) == ["agentserver/py.typed"]
    assert foreign(tracked, packed) == ["agentserver/x.pyc"]
