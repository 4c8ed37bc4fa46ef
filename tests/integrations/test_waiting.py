"""A run that waits for a person, and what may be sent to its session meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from agentserver.testing import AgentUnderTest
from tests.integrations.test_turns import agent, ask, stream

__all__ = ["agent"]  # a fixture

REQUEST = {"id": "call-1", "kind": "approval", "name": "refund", "arguments": {"order": "A-7"}}
QUESTION = {"id": "ask-1", "kind": "value", "question": "Which city?"}


async def test_the_run_waits_and_the_next_call_answers(agent: AgentUnderTest) -> None:
    assert await ask(agent, {"message": "refund"}) == (
        200,
        {"type": "waiting_for_human", "requests": [REQUEST]},
    )
    status, answer = await ask(agent, {"answers": [{"id": "call-1", "approved": True}]})
    assert (status, answer["output"]) == (200, ["refund", [True]])
    assert (await ask(agent, {"message": "next"}))[1]["output"] == ["refund", [True], "next"]


async def test_a_call_is_told_of_once_though_the_run_comes_to_it_twice(agent: AgentUnderTest) -> None:
    first = await stream(agent, {"message": "refund"})
    assert [name for name, _ in first] == ["text_delta", "tool_call", "waiting_for_human"]
    second = await stream(agent, {"answers": [{"id": "call-1", "approved": False}]})
    assert [name for name, _ in second] == ["text_delta", "tool_result", "done"]


async def test_a_message_while_the_run_waits_is_refused_with_what_it_waits_for(agent: AgentUnderTest) -> None:
    await ask(agent, {"message": "ask both"})
    error = {
        "code": "waiting_for_human",
        "message": "The session waits for answers to: call-1, ask-1",
        "requests": [REQUEST, QUESTION],
    }
    assert await ask(agent, {"message": "hello"}) == (409, {"error": error})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, 'Send JSON like {"message": "Hello"}'),
        ({"answers": []}, 'Send JSON like {"message": "Hello"}'),
        ({"message": "x", "answers": [{"id": "call-1"}]}, "Send answers or a message, not both"),
        ({"answers": [{"id": "call-1", "approved": True}]}, "all of them: call-1, ask-1"),
        ({"answers": [{"id": "x"}, {"id": "ask-1"}]}, "all of them: call-1, ask-1"),
        ({"answers": [{"id": "ask-1"}, {"id": "ask-1"}]}, "two have the same id"),
        (
            {"answers": [{"id": "call-1"}, {"id": "ask-1", "value": 1}]},
            'The answer to call-1 must have "approved": true or false',
        ),
    ],
)
async def test_what_does_not_answer_is_refused_in_a_sentence_and_the_run_waits_on(
    body: Any, words: str, agent: AgentUnderTest
) -> None:
    await ask(agent, {"message": "ask both"})
    status, answer = await ask(agent, body)
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert words in answer["error"]["message"]
    good = {"answers": [{"id": "call-1", "approved": False}, {"id": "ask-1", "value": "Rome"}]}
    assert (await ask(agent, good))[0] == 200


async def test_an_answer_that_nobody_waits_for_is_refused(agent: AgentUnderTest) -> None:
    status, answer = await ask(agent, {"answers": [{"id": "call-1", "approved": True}]})
    assert (status, answer["error"]["code"]) == (409, "nothing_to_answer")
