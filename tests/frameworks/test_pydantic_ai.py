"""What only Pydantic AI has: typed answers, dependencies, calls that are answered from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="make frameworks-test installs it")

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, CallDeferred, DeferredToolRequests, PromptedOutput, RunContext
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agentserver.integrations.events import Done, Usage, WaitingForHuman
from agentserver.integrations.handler import Turn
from agentserver.integrations.pydantic_ai import PydanticAIHandler
from agentserver.testing import on_socket
from tests.frameworks.agents import KEY
from tests.frameworks.calls import ask, new_session, stream
from tests.frameworks.model import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")


def model_of(model: StandIn) -> OpenAIChatModel:
    client = AsyncOpenAI(base_url=model.url, api_key=KEY, max_retries=0)
    return OpenAIChatModel("stand-in", provider=OpenAIProvider(openai_client=client))


async def test_an_answer_with_a_type_is_json(model: StandIn) -> None:
    class Weather(BaseModel):
        city: str

    class Typed(PydanticAIHandler):
        agent = Agent(model_of(model), output_type=PromptedOutput(Weather))

    async with on_socket(Typed) as agent:
        model.says = '{"city": "Rome"}'
        assert (await ask(agent, "where?", new_session()))[1]["output"] == {"city": "Rome"}
        model.says = '{"city": "Rome"}'
        assert (await stream(agent, "where?", new_session()))[-1] == Done({"city": "Rome"}, Usage(10, 5))


@dataclass
class Shop:
    name: str


async def test_tools_find_their_dependencies_and_the_agent_the_data_of_the_request(model: StandIn) -> None:
    with_shop = Agent(model_of(model), deps_type=Shop)

    @with_shop.tool
    def get_weather(context: RunContext[Shop], city: str) -> str:
        return f"{city} at {context.deps.name}"

    class WithShop(PydanticAIHandler):
        agent = with_shop

        def input(self, turn: Turn) -> str:
            return f"weather in {turn.request.data['city']}"

        def options(self, turn: Turn) -> dict[str, Any]:
            return {"deps": Shop("Anna's")}

    async with on_socket(WithShop) as agent:
        _, answer = await ask(agent, {"data": {"city": "Rome"}}, new_session())
    assert answer["output"] == "The tool says: Rome at Anna's"


async def test_a_call_that_is_answered_from_outside_takes_its_result_from_the_next_call(
    model: StandIn,
) -> None:
    outside = Agent(model_of(model), output_type=[str, DeferredToolRequests])

    @outside.tool_plain
    def get_weather(city: str) -> str:
        raise CallDeferred

    class Outside(PydanticAIHandler):
        agent = outside

    async with on_socket(Outside) as agent:
        session = new_session()
        waiting = (await stream(agent, "weather in Rome", session))[-1]
        assert isinstance(waiting, WaitingForHuman)
        (asked,) = waiting.requests
        assert (asked.kind, asked.name, asked.arguments) == ("value", "get_weather", {"city": "Rome"})
        answers = {"answers": [{"id": asked.id, "value": "rain"}]}
        assert (await stream(agent, answers, session))[-1] == Done("The tool says: rain", Usage(10, 5))
