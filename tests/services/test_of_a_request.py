"""Handlers and scoped services may ask for what a request brings: its context and the request itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    ActionContext,
    AgentHostBuilder,
    InvocationActionHandler,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    ServiceCollection,
    map_invocations_server,
)
from agentserver.errors import ServiceError
from agentserver.testing import in_process


class Memory:
    """What a session remembers; made for each request, by the session's id."""

    def __init__(self, context: InvocationContext, request: web.Request) -> None:
        self.context = context
        self.request = request


class AsksService(InvocationHandler):
    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return [self.memory.context is context, self.memory.request is request]

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return [self.memory.context is context, self.memory.request is request]

    async def get_openapi(self, request: web.Request) -> Any:
        context = self.memory.context
        return [bool(context.session_id and context.invocation_id), self.memory.request is request]


class AsksItself(InvocationHandler):
    def __init__(self, context: InvocationContext, request: web.Request) -> None:
        self.given = (context, request)

    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[str]:
        assert self.given == (context, request)
        yield context.session_id


def add_memory(builder: AgentHostBuilder) -> None:
    builder.services.add_scoped(Memory)


async def test_a_scoped_service_is_given_the_context_and_the_request_that_the_handler_gets() -> None:
    async with in_process(AsksService, add_memory) as agent:
        for method, path in (
            ("POST", "/invocations"),
            ("GET", "/invocations/an-id"),
            ("GET", "/invocations/docs/openapi.json"),
        ):
            async with agent.http.request(method, path) as response:
                assert await response.json() == [True, True], path


async def test_each_request_brings_its_own() -> None:
    async with in_process(AsksItself) as agent:
        async with (
            agent.http.post("/invocations?agent_session_id=first") as first,
            agent.http.post("/invocations?agent_session_id=second") as second,
        ):
            assert [await second.text(), await first.text()] == ["second", "first"]


async def test_the_limit_on_invocations_does_not_keep_the_context_away() -> None:
    def configure(builder: AgentHostBuilder) -> None:
        add_memory(builder)
        builder.configure(max_invocations=1)

    async with in_process(AsksService, configure) as agent, agent.http.post("/invocations") as response:
        assert await response.json() == [True, True]


async def test_an_application_of_ones_own_gives_them_too() -> None:
    app = web.Application()
    map_invocations_server(app, AsksService, services=ServiceCollection().add_scoped(Memory))
    from aiohttp.test_utils import TestClient, TestServer

    async with TestClient(TestServer(app)) as client, client.post("/invocations") as response:
        assert await response.json() == [True, True]


class OnSocket(InvocationWebSocketHandler):
    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.send_str(json.dumps([self.memory.context is context, self.memory.request.path]))


async def test_on_a_websocket_they_are_of_the_connection() -> None:
    async with in_process(OnSocket, add_memory) as agent, agent.converse() as conversation:
        assert await conversation.receive_json() == [True, "/invocations_ws"]


class OnActions(InvocationActionHandler):
    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    async def invoke(self, payload: Any, context: ActionContext) -> Any:
        return [self.memory.context.session_id, self.memory.request.path]


async def test_under_actions_they_are_of_the_connection_too() -> None:
    async with in_process(OnActions, add_memory) as agent, agent.client.session("s-1").actions() as actions:
        assert (await actions.invoke({})).payload == ["s-1", "/invocations_ws/ws"]


class MakesAnother(InvocationHandler):
    def __init__(self, context: ActionContext) -> None: ...

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return None


class Cache:
    def __init__(self, memory: Memory) -> None: ...


class AsksCache(InvocationHandler):
    def __init__(self, cache: Cache) -> None: ...

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return None


@pytest.mark.parametrize("prepared", [True, False])
async def test_a_singleton_that_asks_for_them_is_refused_at_start_up(prepared: bool) -> None:
    builder = AgentHostBuilder().add_invocations(AsksCache)
    builder.services.add_transient(Memory).add_singleton(Cache, eager=prepared)
    with pytest.raises(ServiceError) as caught:
        builder.build()
    assert str(caught.value) == (
        "AsksCache -> Cache -> Memory -> InvocationContext: the singleton Cache would keep the"
        " InvocationContext of one request for all others; make Cache scoped"
    )


async def test_asking_for_the_context_of_one_action_is_refused_with_what_there_is() -> None:
    with pytest.raises(ServiceError) as caught:
        AgentHostBuilder().add_invocations(MakesAnother).build()
    assert str(caught.value) == (
        "MakesAnother -> ActionContext: no request brings ActionContext; ask for InvocationContext"
    )


async def test_a_registration_of_ones_own_goes_before_what_the_request_brings() -> None:
    own = InvocationContext(invocation_id="i", session_id="own")

    class Asks(InvocationHandler):
        def __init__(self, context: InvocationContext) -> None:
            self.context = context

        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return self.context.session_id

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(InvocationContext, own)

    async with in_process(Asks, configure) as agent:
        assert (await agent.client.invoke("x")).text == "own"
