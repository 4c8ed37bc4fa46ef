"""What the inspector's tests share."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest_asyncio

from tests.inspector.inspected import Inspected, inspected


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dev() -> AsyncGenerator[Inspected, None]:
    """One ``agentserver dev`` for the tests of a module that leave it as it was."""
    async with inspected() as running:
        yield running
