"""What an agent of every framework does the same, with a model that speaks OpenAI's protocol on loopback."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from agentserver.integrations.events import (
    Done,
    HumanRequest,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
    WaitingForHuman,
)
from agentserver.testing import AgentUnderTest, until
from tests.frameworks.calls import EVENTS, ask, new_session, path, stream, types
from tests.frameworks.model import KEY_OF_NOBODY, StandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECONDS = 10


def answers_to(requests: list[HumanRequest], *, approved: bool) -> dict[str, Any]:
    """The body that answers *requests*."""
    return {
        "answers": [
            {"id": asked.id, "approved": approved, "value": approved, "reason": "too late"}
            for asked in requests
        ]
    }


async def test_text_is_streamed_as_the_model_writes_it_and_then_told_whole(agent: AgentUnderTest) -> None:
    *pieces, done = await stream(agent, "hello", new_session())
    assert [piece.text for piece in pieces if isinstance(piece, TextDelta)] == ["You said", ": hello ", "(1)"]
    assert done == Done("You said: hello (1)", Usage(10, 5))


async def test_without_events_the_answer_is_json_and_the_model_is_not_asked_to_stream(
    agent: AgentUnderTest, model: StandIn
) -> None:
    used = {"input_tokens": 10, "output_tokens": 5}
    answer = {"type": "done", "output": "You said: hi (1)", "usage": used}
    assert await ask(agent, "hi", new_session()) == (200, answer)
    assert not model.asked[-1].get("stream")


async def test_a_session_is_one_conversation_with_events_or_without(agent: AgentUnderTest) -> None:
    session = new_session()
    await stream(agent, "one", session)
    assert (await ask(agent, "two", session))[1]["output"] == "You said: two (2)"
    assert (await stream(agent, "three", session))[-1] == Done("You said: three (3)", Usage(10, 5))
    assert (await ask(agent, "one", new_session()))[1]["output"] == "You said: one (1)"


async def test_tools_are_told_of_and_what_they_gave_is_not(agent: AgentUnderTest) -> None:
    events = await stream(agent, "weather in Rome", new_session())
    assert types(events) == ["ToolCall", "ToolResult", "TextDelta", "Done"]
    assert events[:2] == [
        ToolCall("call-w1", "get_weather", {"city": "Rome"}),
        ToolResult("call-w1", "get_weather"),
    ]
    assert events[-1] == Done("The tool says: sunny in Rome", Usage(20, 10))


async def test_a_tool_that_fails_says_so_and_no_more(agent: AgentUnderTest) -> None:
    events = await stream(agent, "weather in Nowhere", new_session())
    (result,) = [event for event in events if isinstance(event, ToolResult)]
    assert (result.failed, result.output) == (True, None)


@pytest.mark.parametrize("approved", [True, False])
async def test_the_run_waits_for_a_person_whose_answer_is_the_next_call(
    approved: bool, agent: AgentUnderTest
) -> None:
    session = new_session()
    events = await stream(agent, "refund A-7", session)
    assert types(events) == ["ToolCall", "WaitingForHuman"]
    assert events[0] == ToolCall("call-r1", "refund", {"order": "A-7"})
    waiting = events[-1]
    assert isinstance(waiting, WaitingForHuman)
    (request,) = waiting.requests
    assert "A-7" in str(request)

    status, refused = await ask(agent, "hello?", session)
    assert (status, refused["error"]["code"]) == (409, "waiting_for_human")
    assert refused["error"]["requests"][0]["id"] == request.id

    events = await stream(agent, answers_to(waiting.requests, approved=approved), session)
    assert "ToolCall" not in types(events)
    done = events[-1]
    assert isinstance(done, Done)
    # What an interrupt of LangGraph means is the graph's own; the others tell their model why.
    denied = {"The tool says: too late", "The tool says: no: False"}
    assert done.output in ({"The tool says: refunded A-7"} if approved else denied)
    assert done.usage == Usage(10, 5)
    assert (await ask(agent, "bye", session))[1]["output"] == "You said: bye (2)"


async def test_it_waits_without_events_just_the_same(agent: AgentUnderTest) -> None:
    session = new_session()
    _, answer = await ask(agent, "refund A-7", session)
    assert answer["type"] == "waiting_for_human"
    ids = [{"id": asked["id"], "approved": True, "value": True} for asked in answer["requests"]]
    assert (await ask(agent, {"answers": ids}, session))[1]["output"] == "The tool says: refunded A-7"


async def test_an_answer_that_was_cut_short_can_be_given_again(agent: AgentUnderTest, model: StandIn) -> None:
    session = new_session()
    _, answer = await ask(agent, "both", session)
    ids = [{"id": asked["id"], "approved": True, "value": True} for asked in answer["requests"]]
    model.failing = 1
    assert (await ask(agent, {"answers": ids}, session))[0] == 503
    status, answer = await ask(agent, {"answers": ids}, session)
    assert (status, answer["output"]) == (200, "The tool says: sunny in Paris; refunded A-7")


@pytest.mark.parametrize("words", ["fail 500", "fail 429", "cut"])
async def test_a_model_that_does_not_answer_is_unavailable(words: str, agent: AgentUnderTest) -> None:
    session = new_session()
    await ask(agent, "one", session)
    async with agent.http.post(path(session), json={"message": words}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert (await response.json())["error"]["code"] == "unavailable"
    assert (await ask(agent, "two", session))[1]["output"] == "You said: two (2)"


@pytest.mark.parametrize("headers", [EVENTS, {}])
async def test_nothing_of_an_error_reaches_the_caller(headers: dict[str, str], agent: AgentUnderTest) -> None:
    async with agent.http.post(path(new_session()), json={"message": "secret"}, headers=headers) as response:
        assert response.status == 500
        assert KEY_OF_NOBODY not in await response.text()
        assert (await response.json())["error"]["message"] == "Internal server error"


async def test_a_stream_that_the_model_cuts_is_cut(agent: AgentUnderTest) -> None:
    session = new_session()
    with pytest.raises(aiohttp.ClientPayloadError):
        await stream(agent, "cut", session)
    assert (await ask(agent, "one", session))[1]["output"] == "You said: one (1)"


@pytest.mark.parametrize("headers", [EVENTS, {}])
async def test_a_client_that_leaves_ends_the_run_and_the_call_of_the_model(
    headers: dict[str, str], agent: AgentUnderTest, model: StandIn
) -> None:
    session = new_session()
    await ask(agent, "one", session)
    model.slow.clear()
    model.left.clear()
    asking = asyncio.create_task(ask_slowly(agent, session, headers))
    await asyncio.wait_for(model.slow.wait(), SECONDS)
    if headers:
        # What the model has said has arrived; docs/frameworks.md says why that matters before Python 3.12.
        await until(lambda: "nt" in HEARD)
    asking.cancel()
    await asyncio.wait_for(model.left.wait(), SECONDS)
    assert (await ask(agent, "two", session))[1]["output"] == "You said: two (2)"


HEARD: list[str] = []


async def ask_slowly(agent: AgentUnderTest, session: str, headers: dict[str, str]) -> None:
    """Note the pieces of text as they come."""
    HEARD.clear()
    async with agent.http.post(path(session), json={"message": "slow"}, headers=headers) as response:
        async for line in response.content:
            hear(line)


def hear(line: bytes) -> None:
    if line.startswith(b"data: "):
        HEARD.append(json.loads(line.removeprefix(b"data: "))["text"])


async def test_actions_run_side_by_side_with_the_same_events(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:

        async def chunks(words: str) -> list[str]:
            async with actions.stream({"message": words}, session_id=new_session()) as stream:
                return [chunk["type"] async for chunk in stream]

        weather, hello = await asyncio.gather(chunks("weather in Rome"), chunks("hello"))
    assert weather[:2] == ["tool_call", "tool_result"]
    assert weather[-1] == hello[-1] == "done"
