"""A handler in process and on a socket: the same server behind both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from agentserver.client import ResponseError, UnreachableError
from agentserver.errors import ConfigurationError, HandlerError, StartupError
from agentserver.testing import AgentUnderTest, fake_environment, in_process, on_socket, until
from tests.testing.agents import Counter, Echo

Serve = Callable[..., "AbstractAsyncContextManager[AgentUnderTest]"]
both = pytest.mark.parametrize("serve", [in_process, on_socket])


@both
async def test_the_client_gets_answers_and_typed_errors(serve: Serve) -> None:
    async with serve(Echo) as agent:
        answer = await agent.client.session("s-1").invoke("hello")
        with pytest.raises(ResponseError, match="I do not like that"):
            await agent.client.invoke("no")
    assert (answer.json()["echo"], answer.json()["session"]) == ("hello", "s-1")


@both
async def test_streams_arrive_as_events(serve: Serve) -> None:
    async with serve(Counter) as agent, agent.client.stream() as stream:
        assert [(event.event, event.data) async for event in stream.events()] == [
            ("count", "0"),
            ("count", "1"),
            ("count", "2"),
        ]


@both
async def test_the_wire_itself_can_be_looked_at(serve: Serve) -> None:
    async with serve(Echo) as agent, agent.http.get("/readiness") as response:
        assert response.status == 200
        assert "agentserver-invocations/" in response.headers["x-platform-server"]


@both
async def test_many_requests_at_once_are_served_side_by_side(serve: Serve) -> None:
    arrived = 0
    all_there = asyncio.Event()

    class Meeting(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            nonlocal arrived
            arrived += 1
            if arrived == 20:
                all_there.set()
            await all_there.wait()
            return "met"

    async with serve(Meeting) as agent:
        answers = await asyncio.gather(*(agent.client.invoke() for _ in range(20)))
    assert {answer.text for answer in answers} == {"met"}


@both
async def test_a_caller_that_leaves_cancels_the_handler(serve: Serve) -> None:
    events: list[str] = []

    class Waiting(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            events.append("started")
            try:
                await asyncio.Event().wait()
            finally:
                events.append("cancelled")

    async with serve(Waiting) as agent:
        call = asyncio.create_task(agent.client.invoke())
        await until(lambda: events == ["started"])
        call.cancel()
        await until(lambda: events == ["started", "cancelled"])


@both
async def test_the_environment_is_the_given_one_and_nothing_of_the_process(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUNDRY_AGENT_SESSION_ID", "from-outside")
    async with serve(Echo) as agent:
        assert (await agent.client.invoke()).session_id != "from-outside"
    async with serve(Echo, environment=fake_environment(FOUNDRY_AGENT_SESSION_ID="given")) as agent:
        assert (await agent.client.invoke()).session_id == "given"
    with pytest.raises(ConfigurationError, match="WS_KEEPALIVE_INTERVAL"):
        async with serve(Echo, environment={"WS_KEEPALIVE_INTERVAL": "x"}):
            pass


@both
async def test_the_builder_can_be_configured(serve: Serve) -> None:
    def limit(builder: AgentHostBuilder) -> None:
        builder.configure(max_body_size=3)

    async with serve(Echo, limit) as agent:
        with pytest.raises(ResponseError, match="payload_too_large"):
            await agent.client.invoke("four")


@both
async def test_the_whole_host_is_there_hooks_and_routes_of_ones_own_included(serve: Serve) -> None:
    life: list[str] = []

    async def mine(_request: web.Request) -> web.Response:
        return web.Response(text="my own page")

    async def begin() -> None:
        life.append("begun")

    async def end() -> None:
        life.append("ended")

    def configure(builder: AgentHostBuilder) -> None:
        builder.app.router.add_get("/mine", mine)
        builder.on_startup(begin).configure_shutdown(hook=end)

    async with serve(Echo, configure) as agent:
        assert life == ["begun"]
        async with agent.http.get("/mine") as response:
            assert await response.text() == "my own page"
        assert (await agent.client.invoke("x")).json()["echo"] == "x"
    assert life == ["begun", "ended"]


@both
async def test_a_start_that_fails_is_raised_and_what_was_begun_is_ended(serve: Serve) -> None:
    life: list[str] = []

    async def begin() -> None:
        raise OSError("no database")

    async def end() -> None:
        life.append("ended")

    def configure(builder: AgentHostBuilder) -> None:
        builder.on_startup(begin).configure_shutdown(hook=end)

    with pytest.raises(StartupError, match="no database"):
        async with serve(Echo, configure):
            pass
    assert life == ["ended"]


@both
async def test_a_handler_that_cannot_serve_is_refused_at_once(serve: Serve) -> None:
    class Wrong(InvocationHandler):
        def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return "no"

    with pytest.raises(HandlerError, match="is not async"):
        async with serve(Wrong):
            pass


async def test_in_process_there_is_no_port() -> None:
    async with in_process(Echo) as agent:
        with pytest.raises(RuntimeError, match="does not run"):
            _ = agent.host.port


async def test_on_a_socket_the_port_is_closed_with_the_block() -> None:
    async with on_socket(Echo) as agent:
        url = agent.url
    from agentserver.client import NO_RETRY, InvocationsClient

    async with InvocationsClient(url, retry=NO_RETRY) as client:
        with pytest.raises(UnreachableError):
            await client.invoke()
