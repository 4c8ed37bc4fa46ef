"""What the runs of the kit share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.warm_start import warm_starts


@pytest.fixture(scope="module")
def unmeasured() -> Iterator[None]:
    """Some hundred servers: coverage learns nothing from them, and none needs a start of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("COVERAGE_PROCESS_")]:
            patch.delenv(variable)
        with warm_starts():
            yield
