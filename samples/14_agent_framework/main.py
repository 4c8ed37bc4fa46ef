"""An agent of Microsoft's Agent Framework: a person must agree before it gives money back."""

import os
import sys
from typing import Annotated

from agent_framework import Agent, tool
from agent_framework.openai import OpenAIChatCompletionClient
from agentserver import InvocationsServer
from agentserver.integrations.agent_framework import AgentFrameworkHandler

if not os.environ.get("OPENAI_API_KEY"):
    sys.exit("Set OPENAI_API_KEY; and OPENAI_BASE_URL for a service beside OpenAI's that speaks its protocol")


@tool
def get_weather(city: Annotated[str, "The name of the city"]) -> str:
    """Say how the weather is, for those who ask when a parcel comes."""
    return f"It is sunny in {city}."


@tool(approval_mode="always_require")
def refund(order: Annotated[str, "The number of the order"]) -> str:
    """Give the money for an order back; a person must agree."""
    return f"Order {order} has been refunded."


class ShopHandler(AgentFrameworkHandler):
    """Serves the agent: a conversation for each session."""

    agent = Agent(
        OpenAIChatCompletionClient(model=os.environ.get("OPENAI_MODEL") or "gpt-5-mini"),
        name="shop",
        instructions="You work for a shop. Use your tools; be brief.",
        tools=[get_weather, refund],
    )


if __name__ == "__main__":
    InvocationsServer.run(ShopHandler)
