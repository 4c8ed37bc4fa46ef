"""What ``make compat`` installs: names and bounds as the project's own files have them."""

from __future__ import annotations

from compliance.compat import VOICE, lower_bounds, without_versions
from tests.servers import ROOT


def test_what_voice_needs_is_named_in_one_place_and_tried_newest() -> None:
    assert without_versions(VOICE.read_text()) == ["pipecat-ai[webrtc]", "pocketsphinx"]
    assert "--requirement tests/voice/requirements.txt" in (ROOT / "Makefile").read_text()


def test_the_lowest_versions_are_those_of_the_ranges() -> None:
    assert lower_bounds((ROOT / "pyproject.toml").read_text())["aiohttp"].startswith("3.14")
