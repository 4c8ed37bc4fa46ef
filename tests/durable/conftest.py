from __future__ import annotations

from pathlib import Path

import pytest

from tests.durable.harness import ENGINES, World


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A store, of each kind."""
    return World(str(request.param), tmp_path)
