"""Whether the other tests of this folder can run at all."""

from __future__ import annotations

import pytest

from tests.frameworks.agents import AGENTS, is_installed


def test_a_framework_is_installed() -> None:
    if not any(map(is_installed, AGENTS)):
        pytest.skip("no agent framework is installed, and none is tested: make frameworks-test does")
