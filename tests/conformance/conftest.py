"""What the runs of the kit share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def unmeasured() -> Iterator[None]:
    """Coverage learns nothing from some hundred servers more, and makes each of them half as dear again."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]:
            patch.delenv(variable)
        yield
