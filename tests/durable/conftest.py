from __future__ import annotations

from pathlib import Path

import pytest

from agentserver.durable import _postgres_replica
from tests.durable.harness import ENGINES, World


@pytest.fixture(params=ENGINES)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A store, of each kind. Of the dead, replicas learn sooner than they do out there."""
    monkeypatch.setattr(_postgres_replica, "_SWEEP_EVERY", 0.05)
    return World(str(request.param), tmp_path)
