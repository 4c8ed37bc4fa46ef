"""Where actions are served, how a connection ends, and the pings (contract, section 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationContext,
    InvocationWebSocketHandler,
)
from agentserver._telemetry.correlation import correlation
from agentserver.errors import HandlerError
from agentserver.invocations._handler_definition import define
from agentserver.testing import on_socket
from tests.actions.agents import Agent, Payload, still_serves
from tests.actions.conversation import conversing, talking_to
from tests.servers import serving

# --- Where it is served


async def test_actions_are_served_on_both_paths() -> None:
    for path in ("/invocations_ws", "/invocations_ws/ws", "/invocations_ws/ws/"):
        async with talking_to(Agent, path) as conversation:
            await still_serves(conversation)


async def test_a_raw_websocket_handler_has_no_action_path() -> None:
    class Raw(InvocationWebSocketHandler):
        async def handle_websocket(self, websocket: Any, context: Any) -> None: ...

    async with serving(Raw) as client, client.get("/invocations_ws/ws") as response:
        assert response.status == 404


@pytest.mark.parametrize("method", ["get_actions_openapi", "get_openapi"])
async def test_the_document_is_the_action_s_own_or_the_one_for_http(method: str) -> None:
    async def document(self: Agent, request: web.Request) -> Any:
        return {"openapi": "3.0.3"}

    async with serving(type("Documented", (Agent,), {method: document})) as client:
        async with client.get("/invocations_ws/docs/openapi.json") as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            assert await response.json() == {"openapi": "3.0.3"}


async def test_without_a_document_it_is_404() -> None:
    async with serving(Agent) as client, client.get("/invocations_ws/docs/openapi.json") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"


async def test_http_works_beside_the_actions_on_the_same_class() -> None:
    class Both(Agent):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return {"echo": await request.json()}

        async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
            return invocation_id

    async with serving(Both) as client:
        async with client.post("/invocations", json={"a": 1}) as response:
            assert await response.json() == {"echo": {"a": 1}}
        async with client.get("/invocations/i") as response:
            assert await response.text() == "i"


async def test_without_a_handle_of_its_own_post_is_404() -> None:
    async with serving(Agent) as client, client.post("/invocations") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("query", "environment", "said", "expected"),
    [
        ("", {}, None, None),
        ("?agent_session_id=query", {}, None, "query"),
        ("?agent_session_id=query", {"FOUNDRY_AGENT_SESSION_ID": "env"}, None, "env"),
        ("", {"FOUNDRY_AGENT_SESSION_ID": "env"}, "said", "said"),
    ],
    ids=["the connection's own", "the query's", "the environment's", "the message's"],
)
async def test_an_invocation_belongs_to_the_session_of_its_message_or_else_of_its_connection(
    query: str, environment: dict[str, str], said: str | None, expected: str | None
) -> None:
    async with talking_to(Agent, f"/invocations_ws{query}", **environment) as conversation:
        response = conversation.websocket.response
        assert response is not None
        for _ in range(2):
            await conversation.invoke("i", said)
            frame = await conversation.frame()
            assert frame["session_id"] == (expected or response.headers["x-agent-session-id"])


async def test_the_context_has_the_invocation_s_ids_and_what_the_connection_brought() -> None:
    class Told(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            return {
                "ids": [context.invocation_id, context.session_id],
                "client": dict(context.client_headers),
                "query": dict(context.query_parameters),
                "user": context.isolation.user_isolation_key,
                "call": context.platform.call_id,
                "stopping": context.shutting_down.is_set(),
            }

    headers = {
        "x-client-app": "voice",
        "x-agent-user-isolation-key": "u",
        "x-agent-foundry-call-id": "c",
    }
    async with serving(Told) as client:
        async with client.ws_connect("/invocations_ws?tier=gold", headers=headers) as websocket:
            await websocket.send_json(
                {"action": "invoke", "invocation_id": "i", "session_id": "s", "payload": {}}
            )
            assert (await websocket.receive_json())["payload"] == {
                "ids": ["i", "s"],
                "client": {"x-client-app": "voice"},
                "query": {"tier": "gold"},
                "user": "u",
                "call": "c",
                "stopping": False,
            }


async def test_log_records_of_an_invocation_carry_its_ids() -> None:
    seen: dict[str, str] = {}

    class Logging(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            seen.update(correlation())

    async with talking_to(Logging) as conversation:
        await conversation.invoke("i", "s")
        await conversation.frame()
    assert (seen["invocation_id"], seen["session_id"]) == ("i", "s")
    assert seen["request_id"]


# --- The end of the connection


async def test_a_shutdown_closes_with_1001_and_cancels_what_runs() -> None:
    ended = asyncio.Event()

    class Waiting(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            yield "begun"
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    async with on_socket(Waiting) as agent, conversing(agent.url) as conversation:
        await conversation.invoke("i", "s")
        await conversation.frame()
        await agent.host.stop()
        assert ended.is_set()
        await conversation.websocket.wait_closed()
        assert conversation.websocket.close_code == 1001


# --- Keep-alive


async def test_a_ping_is_answered_with_a_pong_and_a_pong_with_nothing() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.act("pong")
        await conversation.act("ping")
        assert await conversation.frame() == {"type": "pong"}


async def test_the_server_pings_at_its_interval() -> None:
    class Eager(Agent):
        ping_interval = 0.05

    async with talking_to(Eager) as conversation:
        assert await conversation.frames(3) == [{"type": "ping"}] * 3


async def test_an_interval_of_nought_is_no_ping() -> None:
    class Silent(Agent):
        ping_interval = 0.0

    async with talking_to(Silent) as conversation:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(conversation.websocket.recv(), 0.2)


def test_the_server_pings_every_thirty_seconds_by_default() -> None:
    assert InvocationActionHandler.ping_interval == 30.0
    assert InvocationActionHandler.max_concurrent_invocations == 64


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_concurrent_invocations", 0),
        ("max_concurrent_invocations", "64"),
        ("ping_interval", -1.0),
        ("ping_interval", float("inf")),
        ("ping_interval", float("nan")),
        ("ping_interval", None),
    ],
)
def test_an_option_that_cannot_be_used_is_said_when_the_class_is_registered(option: str, value: Any) -> None:
    wrong = type("Wrong", (Agent,), {option: value})
    with pytest.raises(HandlerError, match=f"^Wrong.{option} is {value!r}: set it to "):
        define(wrong)


def test_a_handler_without_invoke_is_refused_when_it_is_registered() -> None:
    class Empty(InvocationActionHandler):
        pass

    with pytest.raises(HandlerError, match=r"write 'async def invoke\(self, payload, context\)'"):
        define(Empty)


def test_a_sync_invoke_is_refused_when_it_is_registered() -> None:
    class Sync(InvocationActionHandler):
        def invoke(self, payload: Payload, context: ActionContext) -> Any:
            return None

    with pytest.raises(HandlerError, match=r"Sync.invoke is not async"):
        define(Sync)
