"""The pytest plugin: fixtures that start agents and end them with the test. Works with pytest-aiohttp.

=======================  =====================================================================
``agent_in_process``     ``await agent_in_process(Handler)``: see `in_process`
``agent_on_socket``      ``await agent_on_socket(Handler)``: see `on_socket`
``agent_process``        ``await agent_process("main.py")``: see `run_server`
``foundry_environment``  ``foundry_environment(NAME=value)`` sets the platform's variables
``close_events``         what servers report at the end of each WebSocket
``captured_spans``       the spans that end during the test
=======================  =====================================================================

pytest loads this module in every run of whoever has the distribution installed, so it loads nothing itself.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from agentserver.invocations._handler_source import HandlerSource
    from agentserver.testing.agent import AgentUnderTest, Configure
    from agentserver.testing.closes import CloseEvents
    from agentserver.testing.process import ServerProcess, Target
    from agentserver.testing.spans import CapturedSpans

__all__ = [
    "StartAgent",
    "StartServer",
    "agent_in_process",
    "agent_on_socket",
    "agent_process",
    "captured_spans",
    "close_events",
    "foundry_environment",
]


class StartAgent(Protocol):
    """The type of ``agent_in_process`` and ``agent_on_socket``."""

    async def __call__(
        self,
        handler: HandlerSource,
        configure: Configure | None = None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> AgentUnderTest:
        """Serve *handler* until the end of the test."""
        ...


class StartServer(Protocol):
    """The type of ``agent_process``."""

    async def __call__(
        self,
        *target: Target,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
        cwd: str | Path | None = None,
        wait: bool = True,
    ) -> ServerProcess:
        """Run a server until the end of the test."""
        ...


def _async_fixture(function: Callable[[], AsyncIterator[Any]]) -> Any:
    try:
        import pytest_asyncio
    except ImportError:

        def missing() -> None:
            pytest.fail("This fixture is asynchronous: install pytest-aiohttp to use it", pytrace=False)

        return pytest.fixture(missing, name=function.__name__)
    return pytest_asyncio.fixture(function)


def _needs_asyncio() -> None:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pytest.fail(
            "Agents run on asyncio, and this test runs on something else: mark it with pytest.mark.asyncio,"
            " or have anyio run it on its asyncio backend",
            pytrace=False,
        )


@_async_fixture
async def agent_in_process() -> AsyncIterator[StartAgent]:
    """Serve handlers without a port, until the end of the test."""
    from agentserver.testing.agent import in_process

    async with AsyncExitStack() as stack:

        async def start(
            handler: HandlerSource,
            configure: Configure | None = None,
            *,
            environment: Mapping[str, str] | None = None,
        ) -> AgentUnderTest:
            _needs_asyncio()
            return await stack.enter_async_context(in_process(handler, configure, environment=environment))

        yield start


@_async_fixture
async def agent_on_socket() -> AsyncIterator[StartAgent]:
    """Serve handlers on a free port of 127.0.0.1, until the end of the test."""
    from agentserver.testing.agent import on_socket

    async with AsyncExitStack() as stack:

        async def start(
            handler: HandlerSource,
            configure: Configure | None = None,
            *,
            environment: Mapping[str, str] | None = None,
        ) -> AgentUnderTest:
            _needs_asyncio()
            return await stack.enter_async_context(on_socket(handler, configure, environment=environment))

        yield start


@_async_fixture
async def agent_process() -> AsyncIterator[StartServer]:
    """Run servers as processes of their own, until the end of the test."""
    from agentserver.testing.process import run_server

    async with AsyncExitStack() as stack:

        async def start(
            *target: Target,
            environment: Mapping[str, str] | None = None,
            port: int | None = None,
            cwd: str | Path | None = None,
            wait: bool = True,
        ) -> ServerProcess:
            _needs_asyncio()
            return await stack.enter_async_context(
                run_server(*target, environment=environment, port=port, cwd=cwd, wait=wait)
            )

        yield start


@pytest.fixture
def foundry_environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    """Take the platform's variables away for the test; the function that is returned sets fake ones."""
    from agentserver.testing.environment import fake_environment, without_platform

    for name in os.environ.keys() - without_platform(os.environ).keys():
        monkeypatch.delenv(name)

    def set_variables(**variables: str | None) -> dict[str, str]:
        chosen = fake_environment(**variables)
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)
        return chosen

    return set_variables


@pytest.fixture
def close_events() -> Iterator[CloseEvents]:
    """Collect what servers in this process report at the end of each WebSocket."""
    from agentserver.testing.closes import capture_close_events

    with capture_close_events() as events:
        yield events


@pytest.fixture
def captured_spans() -> Iterator[CapturedSpans]:
    """Collect the spans that end during the test; ask for it before an agent is started."""
    try:
        from agentserver.testing.spans import capture_spans
    except ImportError:
        pytest.fail(
            "Spans need OpenTelemetry's SDK: install agentserver-invocations[telemetry]", pytrace=False
        )
    with capture_spans() as spans:
        yield spans
