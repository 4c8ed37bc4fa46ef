"""Whether the other tests of this folder can run at all."""

from __future__ import annotations

import pytest

from tests.voice.conftest import HAS_ALL


def test_what_voice_needs_is_installed() -> None:
    if not HAS_ALL:
        pytest.skip(
            "Pipecat, PocketSphinx or eSpeak NG is not there, and voice is not tested: make voice-test does"
        )
