"""The same agent in each framework: it knows the weather, and refunds what a person approves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from agentserver.integrations.handler import AgentHandler

Make = Callable[[str], type[AgentHandler]]

KEY = "not-a-key"


def weather(city: str) -> str:
    """Say how the weather is."""
    if city == "Nowhere":
        raise ValueError("the database of 10.0.0.1 has no such city")
    return f"sunny in {city}"


def refunded(order: str) -> str:
    """Give the money back."""
    return f"refunded {order}"


def agent_framework(url: str, *, responses: bool = False) -> type[AgentHandler]:
    """On the Agent Framework."""
    from agent_framework import Agent, tool
    from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient
    from openai import AsyncOpenAI

    from agentserver.integrations.agent_framework import AgentFrameworkHandler

    kind: Any = OpenAIChatClient if responses else OpenAIChatCompletionClient
    client = kind(model="stand-in", async_client=AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0))
    get_weather = tool(weather, name="get_weather")
    refund = tool(refunded, name="refund", approval_mode="always_require")

    class Handler(AgentFrameworkHandler):
        agent = Agent(client, name="support", tools=[get_weather, refund])

    return Handler


def langgraph(url: str, *, checkpointer: Any = None) -> type[AgentHandler]:
    """On LangGraph."""
    from langchain_core.tools import StructuredTool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition
    from langgraph.types import interrupt
    from pydantic import SecretStr

    from agentserver.integrations.langgraph import LangGraphHandler

    def refund(order: str) -> str:
        """Give the money back, if a person agrees."""
        decision = interrupt({"tool": "refund", "order": order})
        return refunded(order) if decision is True else f"no: {decision}"

    tools = [StructuredTool.from_function(weather, name="get_weather"), StructuredTool.from_function(refund)]
    model = ChatOpenAI(
        model="stand-in", base_url=url, api_key=SecretStr(KEY), max_retries=0, stream_usage=True
    ).bind_tools(tools)

    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("tools", ToolNode(tools, handle_tool_errors=True))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")

    class Handler(LangGraphHandler):
        graph = builder.compile(checkpointer=checkpointer)

    return Handler


def langgraph_with_its_own(url: str) -> type[AgentHandler]:
    """On LangGraph, with a checkpointer of the graph's own."""
    from langgraph.checkpoint.memory import InMemorySaver

    return langgraph(url, checkpointer=InMemorySaver())


def openai_agents(url: str, *, responses: bool = False) -> type[AgentHandler]:
    """On the OpenAI Agents SDK."""
    from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, function_tool
    from openai import AsyncOpenAI

    from agentserver.integrations.openai_agents import OpenAIAgentsHandler

    kind: Any = OpenAIResponsesModel if responses else OpenAIChatCompletionsModel
    client = AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0)
    get_weather = function_tool(weather, name_override="get_weather")
    refund = function_tool(refunded, name_override="refund", needs_approval=True)

    class Handler(OpenAIAgentsHandler):
        agent = Agent(
            name="support", tools=[get_weather, refund], model=kind(model="stand-in", openai_client=client)
        )

    return Handler


def openai_agents_on_responses(url: str) -> type[AgentHandler]:
    """On the OpenAI Agents SDK, over the Responses API."""
    return openai_agents(url, responses=True)


def pydantic_ai(url: str) -> type[AgentHandler]:
    """On Pydantic AI."""
    from openai import AsyncOpenAI
    from pydantic_ai import Agent, DeferredToolRequests, ModelRetry, Tool
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from agentserver.integrations.pydantic_ai import PydanticAIHandler

    def get_weather(city: str) -> str:
        """Say how the weather is."""
        try:
            return weather(city)
        except ValueError as error:
            raise ModelRetry(str(error)) from error

    provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0))

    class Handler(PydanticAIHandler):
        agent = Agent(
            OpenAIChatModel("stand-in", provider=provider),
            output_type=[str, DeferredToolRequests],
            tools=[
                get_weather,
                Tool(refunded, name="refund", requires_approval=True),
            ],
        )

    return Handler


AGENTS: Mapping[str, tuple[str, Make]] = {
    "agent_framework": ("agent_framework", agent_framework),
    "langgraph": ("langgraph", langgraph),
    "langgraph_with_its_own": ("langgraph", langgraph_with_its_own),
    "openai_agents": ("agents", openai_agents),
    "openai_agents_on_responses": ("agents", openai_agents_on_responses),
    "pydantic_ai": ("pydantic_ai", pydantic_ai),
}
"""For each name the module that must be there, and what makes the handler."""


def is_installed(name: str) -> bool:
    """Whether the framework of the agent *name* is there."""
    return find_spec(AGENTS[name][0]) is not None
