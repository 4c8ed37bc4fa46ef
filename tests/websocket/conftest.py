"""The close events are at level INFO."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentserver")
