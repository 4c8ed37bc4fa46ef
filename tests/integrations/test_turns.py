"""What a handler of any framework does with a request, without a framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
import pytest

from agentserver.client import ActionError
from agentserver.errors import HandlerError
from agentserver.integrations.events import AgentEvent, Done, TurnOutcome
from agentserver.integrations.handler import AgentHandler, Turn
from agentserver.integrations.sessions import MemorySessionStore
from agentserver.testing import AgentUnderTest, in_process, until
from tests.integrations.scripted import Scripted

EVENTS = {"Accept": "text/event-stream"}
Answer = tuple[int, Any]


@pytest.fixture
async def agent() -> AsyncGenerator[AgentUnderTest, None]:
    Scripted.sessions = MemorySessionStore()
    Scripted.gate = asyncio.Event()
    Scripted.begun, Scripted.ended = [], []
    async with in_process(Scripted) as agent:
        yield agent


async def ask(agent: AgentUnderTest, body: Any, session: str = "s", **headers: str) -> Answer:
    """The status, and the JSON that came."""
    path = f"/invocations?agent_session_id={session}"
    async with agent.http.post(path, json=body, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def stream(agent: AgentUnderTest, body: Any, session: str = "s") -> list[tuple[str, dict[str, Any]]]:
    """The name and the data of each event."""
    path = f"/invocations?agent_session_id={session}"
    async with agent.http.post(path, json=body, headers=EVENTS) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        frames = (await response.text()).split("\n\n")[:-1]
    found: list[tuple[str, dict[str, Any]]] = []
    for frame in frames:
        name, data = frame.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_who_accepts_events_gets_each_as_it_happens(agent: AgentUnderTest) -> None:
    assert await stream(agent, {"message": "hello there"}) == [
        ("text_delta", {"type": "text_delta", "text": "hello"}),
        ("text_delta", {"type": "text_delta", "text": "there"}),
        (
            "done",
            {"type": "done", "output": ["hello there"], "usage": {"input_tokens": 1, "output_tokens": 1}},
        ),
    ]


async def test_who_does_not_gets_the_last_one_as_json(agent: AgentUnderTest) -> None:
    used = {"input_tokens": 1, "output_tokens": 1}
    assert await ask(agent, {"message": "hello"}) == (
        200,
        {"type": "done", "output": ["hello"], "usage": used},
    )


async def test_a_session_remembers_and_no_other_does(agent: AgentUnderTest) -> None:
    await ask(agent, {"message": "one"})
    await stream(agent, {"message": "two"})
    assert (await ask(agent, {"message": "three"}))[1]["output"] == ["one", "two", "three"]
    assert (await ask(agent, {"message": "one"}, "other"))[1]["output"] == ["one"]


async def test_a_session_belongs_to_who_the_platform_says_the_user_is(agent: AgentUnderTest) -> None:
    alice, bob = {"x-agent-user-id": "alice"}, {"x-agent-user-id": "bob"}
    await ask(agent, {"message": "mine"}, **alice)
    assert (await ask(agent, {"message": "more"}, **bob))[1]["output"] == ["more"]
    assert (await ask(agent, {"message": "more"}))[1]["output"] == ["more"]
    assert (await ask(agent, {"message": "more"}, **alice))[1]["output"] == ["mine", "more"]


async def test_what_the_agent_takes_beside_words_reaches_it(agent: AgentUnderTest) -> None:
    assert (await ask(agent, {"data": {"x": [1]}}))[1]["output"] == {"x": [1]}


@pytest.mark.parametrize("body", [{"message": "break"}, {"message": "nonsense"}])
async def test_a_failure_tells_the_caller_nothing_and_leaves_the_session_as_it_was(
    body: dict[str, str], agent: AgentUnderTest
) -> None:
    error = {"error": {"code": "internal_error", "message": "Internal server error"}}
    await ask(agent, {"message": "one"})
    assert await ask(agent, body) == (500, error)
    with pytest.raises((aiohttp.ClientError, AssertionError)):  # cut, or 500 before the first event
        await stream(agent, body)
    assert (await ask(agent, {"message": "two"}))[1]["output"] == ["one", "two"]


async def test_an_error_that_is_meant_for_the_caller_reaches_it(agent: AgentUnderTest) -> None:
    assert await ask(agent, {"message": "refuse"}) == (
        422,
        {"error": {"code": "no", "message": "No such thing"}},
    )


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
async def test_a_client_that_leaves_ends_the_turn_which_is_as_if_it_had_never_been(
    accept: str, agent: AgentUnderTest
) -> None:
    await ask(agent, {"message": "one"})
    path = "/invocations?agent_session_id=s"
    asking = asyncio.create_task(agent.http.post(path, json={"message": "wait"}, headers={"Accept": accept}))
    await until(lambda: "wait" in Scripted.begun)
    if accept == "text/event-stream":
        (await asking).close()
    asking.cancel()
    await until(lambda: "wait" in Scripted.ended)
    assert (await ask(agent, {"message": "two"}))[1]["output"] == ["one", "two"]


async def test_a_session_has_one_turn_after_the_other(agent: AgentUnderTest) -> None:
    first = asyncio.create_task(ask(agent, {"message": "wait"}))
    await until(lambda: Scripted.begun == ["wait"])
    second = asyncio.create_task(ask(agent, {"message": "two"}))
    assert (await ask(agent, {"message": "elsewhere"}, "other"))[0] == 200
    assert Scripted.begun == ["wait", "elsewhere"]
    Scripted.gate.set()
    assert (await second)[1]["output"] == ["wait", "two"]
    assert (await first)[0] == 200


async def test_actions_stream_the_same_events(agent: AgentUnderTest) -> None:
    async with agent.client.session("s").actions() as actions:
        async with actions.stream({"message": "hello"}) as stream:
            chunks = [chunk async for chunk in stream]
        assert [chunk["type"] for chunk in chunks] == ["text_delta", "done"]
        for body, words in (
            ({"message": "break"}, "Internal server error"),
            ({"message": 5}, "message: expected a string or null"),
        ):
            with pytest.raises(ActionError, match=words):
                await actions.invoke(body)


async def test_a_switch_that_is_none_is_refused_at_the_start() -> None:
    class Wrong(Scripted):
        tool_outputs: Any = "yes"

    with pytest.raises(HandlerError, match=r"Wrong\.tool_outputs is 'yes': set it to True or False"):
        async with in_process(Wrong):
            pass


async def test_without_something_to_keep_nothing_is_kept() -> None:
    class Forgetful(AgentHandler):
        sessions = MemorySessionStore()

        async def events(self, turn: Turn) -> AsyncIterator[AgentEvent]:
            yield Done("x")

        async def answer(self, turn: Turn) -> TurnOutcome:
            assert turn.state is None
            return Done("x")

    async with in_process(Forgetful) as agent:
        for _ in range(2):
            assert await ask(agent, {"message": "x"}) == (200, {"type": "done", "output": "x", "usage": None})


async def test_the_document_describes_the_body_the_events_and_the_json(agent: AgentUnderTest) -> None:
    async with agent.http.get("/invocations/docs/openapi.json") as response:
        document = await response.json()
    post = document["paths"]["/invocations"]["post"]
    body = post["requestBody"]["content"]["application/json"]
    assert body == {"schema": {"$ref": "#/components/schemas/AgentRequest"}, "example": {"message": "Hello"}}
    content = post["responses"]["200"]["content"]
    names = [
        event["properties"]["event"]["const"] for event in content["text/event-stream"]["schema"]["anyOf"]
    ]
    assert names == ["text_delta", "tool_call", "tool_result", "waiting_for_human", "done"]
    assert content["application/json"]["schema"]["anyOf"] == [
        {"$ref": "#/components/schemas/Done"},
        {"$ref": "#/components/schemas/WaitingForHuman"},
    ]
