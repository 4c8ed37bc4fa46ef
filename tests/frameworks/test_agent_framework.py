"""What only the Agent Framework has: its clients for two protocols, typed answers, agents of one's own."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("agent_framework", reason="make frameworks-test installs it")

from agent_framework import Agent, tool
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
from openai import AsyncOpenAI
from pydantic import BaseModel

from agentserver.integrations.agent_framework import AgentFrameworkHandler
from agentserver.integrations.events import Done, TextDelta, ToolCall, WaitingForHuman
from agentserver.integrations.handler import Turn
from agentserver.testing import on_socket
from tests.frameworks import agents
from tests.frameworks.calls import ask, new_session, stream, types
from tests.frameworks.model import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_over_the_responses_api_text_is_told_once_and_the_service_keeps_the_conversation(
    model: StandIn,
) -> None:
    async with on_socket(agents.agent_framework(model.url, responses=True)) as agent:
        session = new_session()
        *pieces, done = await stream(agent, "hello", session)
        assert [piece.text for piece in pieces if isinstance(piece, TextDelta)] == [
            "You said",
            ": hello ",
            "(1)",
        ]
        assert isinstance(done, Done)
        assert done.output == "You said: hello (1)"
        events = await stream(agent, "weather in Rome", session)
        assert types(events) == ["ToolCall", "ToolResult", "TextDelta", "Done"]
        assert events[0] == ToolCall("call-w1", "get_weather", {"city": "Rome"})
    assert model.asked[-2]["previous_response_id"] == "resp-1"


async def test_an_answer_with_a_type_is_json(model: StandIn) -> None:
    class Weather(BaseModel):
        city: str

    client = AsyncOpenAI(base_url=model.url, api_key=agents.KEY, max_retries=0)

    class Typed(AgentFrameworkHandler):
        agent = Agent(OpenAIChatCompletionClient(model="stand-in", async_client=client))

        def options(self, turn: Turn) -> dict[str, Any]:
            return {"options": {"response_format": Weather}}

    async with on_socket(Typed) as agent:
        model.says = '{"city": "Rome"}'
        assert (await ask(agent, "where?", new_session()))[1]["output"] == {"city": "Rome"}
        model.says = '{"city": "Rome"}'
        done = (await stream(agent, "where?", new_session()))[-1]
        assert isinstance(done, Done)
        assert done.output == {"city": "Rome"}


REJECTED = "Error: Tool call invocation was rejected by user."


@pytest.mark.parametrize("kind", [OpenAIChatCompletionClient, OpenAIChatClient])
@pytest.mark.parametrize(
    ("approved", "gave"),
    [
        (set[str](), "It came in time.; It came in time."),
        ({"get_weather"}, f"sunny in Paris; {REJECTED}"),  # no place for a reason beside an approval
        ({"get_weather", "refund"}, "sunny in Paris; refunded A-7"),
    ],
)
async def test_of_two_calls_the_model_learns_why_they_were_denied_if_both_were(
    approved: set[str], gave: str, kind: Any, model: StandIn
) -> None:
    client = AsyncOpenAI(base_url=model.url, api_key=agents.KEY, max_retries=0)
    tools = [
        tool(agents.weather, name="get_weather", approval_mode="always_require"),
        tool(agents.refunded, name="refund", approval_mode="always_require"),
    ]

    class Careful(AgentFrameworkHandler):
        agent = Agent(kind(model="stand-in", async_client=client), tools=tools)

    async with on_socket(Careful) as agent:
        session = new_session()
        waiting = (await stream(agent, "both", session))[-1]
        assert isinstance(waiting, WaitingForHuman)
        answers = [
            {"id": asked.id, "approved": asked.name in approved, "reason": "It came in time."}
            for asked in waiting.requests
        ]
        done = (await stream(agent, {"answers": answers}, session))[-1]
        assert isinstance(done, Done)
        assert done.output == f"The tool says: {gave}"
        assert (await ask(agent, "bye", session))[0] == 200
