"""An agent of the OpenAI Agents SDK: a person must agree before it gives money back."""

import os
import sys
from typing import Annotated, Any

from agents import Agent, function_tool
from agentserver import InvocationsServer
from agentserver.integrations.openai_agents import OpenAIAgentsHandler

if not os.environ.get("OPENAI_API_KEY"):
    sys.exit("Set OPENAI_API_KEY; and OPENAI_BASE_URL for a service beside OpenAI's that speaks its protocol")


@function_tool
def get_weather(city: Annotated[str, "The name of the city"]) -> str:
    """Say how the weather is, for those who ask when a parcel comes."""
    return f"It is sunny in {city}."


@function_tool(needs_approval=True)
def refund(order: Annotated[str, "The number of the order"]) -> str:
    """Give the money for an order back; a person must agree."""
    return f"Order {order} has been refunded."


class ShopHandler(OpenAIAgentsHandler):
    """Serves the agent: a conversation for each session."""

    agent: Agent[Any] = Agent(
        name="shop",
        instructions="You work for a shop. Use your tools; be brief.",
        model=os.environ.get("OPENAI_MODEL") or "gpt-5-mini",
        tools=[get_weather, refund],
    )


if __name__ == "__main__":
    InvocationsServer.run(ShopHandler)
