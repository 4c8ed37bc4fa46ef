"""What a program may get wrong around its handler: each mistake is one sentence, and nothing is served."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp import web

from agentserver import (
    AgentHost,
    AgentHostBuilder,
    FoundryEnvironment,
    InvocationContext,
    InvocationHandler,
    InvocationsServer,
    map_invocations_server,
)
from agentserver.errors import ConfigurationError, StartupError


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> bytes:
        return await request.read()


ANYTHING = cast("Any", {"max_body_size": 1})


def nothing() -> None:
    """Take no builder."""


async def later(_builder: AgentHostBuilder) -> None:
    """Configure, if somebody awaited it."""


def builder() -> AgentHostBuilder:
    return AgentHost.create_builder(FoundryEnvironment.read({})).add_invocations(Echo)


@pytest.mark.parametrize(
    ("configure", "sentence"),
    [
        (3, "configure must be a function that takes one argument, not 3: write 'def configure(builder)'"),
        (nothing, "configure takes other arguments: write 'def nothing(builder)'"),
        (later, "configure must not be async: write 'def later(builder)'"),
    ],
)
def test_a_configure_that_cannot_be_called_is_refused(
    configure: Any, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        InvocationsServer.run(Echo, configure=configure)
    assert sentence in capsys.readouterr().err


def test_what_a_configure_itself_raises_stays_what_it_is() -> None:
    def configure(_builder: AgentHostBuilder) -> None:
        raise TypeError("of its own")

    with pytest.raises(TypeError, match="of its own"):
        InvocationsServer.run(Echo, configure=configure)


@pytest.mark.parametrize(
    ("method", "arguments", "options", "sentence"),
    [
        ("configure_health", ["db"], {}, "configure_health must be a function"),
        ("configure_shutdown", [], {"hook": 3}, "the shutdown hook 3 is no function"),
        ("on_startup", ["x"], {}, "the start-up hook 'x' is no function"),
        ("configure_tracing", [3], {}, "configure_tracing must be a function"),
        (
            "configure_tracing",
            [],
            {"framework_spans": "no"},
            "framework_spans is 'no', but it must be True or",
        ),
    ],
)
def test_what_is_no_function_is_refused_before_anything_listens(
    method: str, arguments: list[Any], options: dict[str, Any], sentence: str
) -> None:
    made = builder()
    with pytest.raises(ConfigurationError) as raised:
        getattr(made, method)(*arguments, **options).build()
    assert sentence in str(raised.value)


def test_options_of_another_kind_are_refused() -> None:
    host = AgentHost.create_builder(FoundryEnvironment.read({}))
    with pytest.raises(ConfigurationError, match=r"type dict: write InvocationsServerOptions\(…\)"):
        host.add_invocations(Echo, options=ANYTHING)
    with pytest.raises(ConfigurationError, match=r"type dict: write InvocationsServerOptions\(…\)"):
        map_invocations_server(web.Application(), Echo, invocations=ANYTHING)
    with pytest.raises(ConfigurationError, match=r"type dict: write AgentHostOptions\(…\)"):
        map_invocations_server(web.Application(), Echo, options=ANYTHING)
    with pytest.raises(ConfigurationError, match=r"type dict: write FoundryEnvironment.read\(…\)"):
        AgentHost.create_builder(ANYTHING)


async def test_a_host_that_is_run_within_a_loop_says_what_to_do_instead() -> None:
    host = builder().build()
    with pytest.raises(StartupError, match=r"write 'async with host:'"):
        host.run()
    await asyncio.sleep(0)  # a coroutine that nobody awaited would be told of here
