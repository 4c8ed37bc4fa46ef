from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.cli.terminal.counter import Counter
from tests.servers import serving


@pytest.fixture
async def counter() -> AsyncGenerator[str, None]:
    async with serving(Counter) as client:
        yield str(client._base_url)
