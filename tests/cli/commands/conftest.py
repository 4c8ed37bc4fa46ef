from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.cli.commands.talkative import TalkativeHandler
from tests.servers import serving


@pytest.fixture
async def url() -> AsyncGenerator[str, None]:
    TalkativeHandler.polls = 0
    async with serving(TalkativeHandler) as client:
        yield str(client._base_url)
