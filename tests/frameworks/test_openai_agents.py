"""What only the OpenAI Agents SDK has: guardrails, hand-offs, hooks, a context."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("agents", reason="make frameworks-test installs it")

from agents import (
    Agent,
    GuardrailFunctionOutput,
    OpenAIChatCompletionsModel,
    RunContextWrapper,
    RunHooks,
    function_tool,
    input_guardrail,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

from agentserver.integrations.handler import Turn
from agentserver.integrations.openai_agents import OpenAIAgentsHandler
from agentserver.testing import capture_spans, on_socket
from tests.frameworks.agents import KEY
from tests.frameworks.calls import EVENTS, ask, new_session, path, stream, types
from tests.frameworks.model import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")


def model_of(model: StandIn) -> OpenAIChatCompletionsModel:
    client = AsyncOpenAI(base_url=model.url, api_key=KEY, max_retries=0)
    return OpenAIChatCompletionsModel(model="stand-in", openai_client=client)


@pytest.mark.parametrize("headers", [EVENTS, {}])
async def test_what_a_guardrail_stops_is_refused(headers: dict[str, str], model: StandIn) -> None:
    @input_guardrail(run_in_parallel=False)
    async def no_politics(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput("the rule of 1998", tripwire_triggered="vote" in str(given))

    class Guarded(OpenAIAgentsHandler):
        agent = Agent(name="a", model=model_of(model), input_guardrails=[no_politics])

    async with on_socket(Guarded) as agent:
        session = new_session()
        body = {"message": "how to vote"}
        async with agent.http.post(path(session), json=body, headers=headers) as response:
            error = {"code": "refused", "message": "The agent does not deal with this"}
            assert (response.status, await response.json()) == (400, {"error": error})
        assert (await ask(agent, "hello", session))[1]["output"] == "You said: hello (1)"


async def test_tools_find_their_context_before_and_after_the_run_has_waited(model: StandIn) -> None:
    seen: list[str] = []

    @function_tool(needs_approval=True)
    def refund(context: RunContextWrapper[dict[str, str]], order: str) -> str:
        """Give it back."""
        seen.append(context.context["shop"])
        return order

    class WithContext(OpenAIAgentsHandler):
        agent = Agent(name="a", model=model_of(model), tools=[refund])

        def options(self, turn: Turn) -> dict[str, Any]:
            return {"context": {"shop": "Rome"}}

    async with on_socket(WithContext) as agent:
        session = new_session()
        _, answer = await ask(agent, "refund A-7", session)
        ids = [{"id": asked["id"], "approved": True} for asked in answer["requests"]]
        assert (await ask(agent, {"answers": ids}, session))[1]["output"] == "The tool says: A-7"
    assert seen == ["Rome"]


async def test_hooks_of_the_users_are_called_instead_of_ours(model: StandIn) -> None:
    class Hooks(RunHooks[Any]):
        async def on_agent_start(self, context: Any, agent: Any) -> None:
            started.append(agent.name)

    class Hooked(OpenAIAgentsHandler):
        agent = Agent(name="mine", model=model_of(model))

        def options(self, turn: Turn) -> dict[str, Any]:
            return {"hooks": Hooks(), "max_turns": 3}

    started: list[str] = []
    with capture_spans() as spans:
        async with on_socket(Hooked) as agent:
            await ask(agent, "hello", new_session())
            await spans.named("invoke_agent")
        assert spans.names == ["invoke_agent"]
    assert started == ["mine"]


async def test_an_answer_with_a_type_is_json(model: StandIn) -> None:
    class Weather(BaseModel):
        city: str

    class Typed(OpenAIAgentsHandler):
        agent = Agent(name="a", model=model_of(model), output_type=Weather)

    model.says = '{"city": "Rome"}'
    async with on_socket(Typed) as agent:
        assert (await ask(agent, "where?", new_session()))[1]["output"] == {"city": "Rome"}


async def test_an_agent_that_hands_over_is_followed(model: StandIn) -> None:
    second = Agent(name="second", model=model_of(model))
    model.calls = ("transfer_to_second", {})

    class First(OpenAIAgentsHandler):
        agent = Agent(name="first", model=model_of(model), handoffs=[second])

    with capture_spans() as spans:
        async with on_socket(First) as agent:
            events = await stream(agent, "hello", new_session())
            request = await spans.named("invoke_agent")
        assert [span.name for span in spans.children_of(request)] == [
            "invoke_agent first",
            "invoke_agent second",
        ]
    assert types(events)[-2:] == ["TextDelta", "Done"]
