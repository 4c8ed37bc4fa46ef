"""One model and one agent for each framework, for all tests of a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from agentserver.testing import AgentUnderTest, on_socket
from tests.frameworks.agents import AGENTS, is_installed
from tests.frameworks.model import StandIn, standing_in

# One line that they were skipped is enough.
collect_ignore_glob = [] if any(map(is_installed, AGENTS)) else ["test_[!i]*.py"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncGenerator[StandIn, None]:
    async with standing_in() as model:
        yield model


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=AGENTS)
async def agent(request: pytest.FixtureRequest, model: StandIn) -> AsyncGenerator[AgentUnderTest, None]:
    name: str = request.param
    if not is_installed(name):
        pytest.skip(f"{name} is not installed: make frameworks-test installs it")
    async with on_socket(AGENTS[name][1](model.url)) as agent:
        yield agent
