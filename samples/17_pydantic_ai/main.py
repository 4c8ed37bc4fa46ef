"""An agent of Pydantic AI: a person must agree before it gives money back."""

import os
import sys
from typing import Annotated

from agentserver import InvocationsServer
from agentserver.integrations.pydantic_ai import PydanticAIHandler
from pydantic_ai import Agent, DeferredToolRequests, Tool
from pydantic_ai.models.openai import OpenAIChatModel

if not os.environ.get("OPENAI_API_KEY"):
    sys.exit("Set OPENAI_API_KEY; and OPENAI_BASE_URL for a service beside OpenAI's that speaks its protocol")


def get_weather(city: Annotated[str, "The name of the city"]) -> str:
    """Say how the weather is, for those who ask when a parcel comes."""
    return f"It is sunny in {city}."


def refund(order: Annotated[str, "The number of the order"]) -> str:
    """Give the money for an order back; a person must agree."""
    return f"Order {order} has been refunded."


class ShopHandler(PydanticAIHandler):
    """Serves the agent: a conversation for each session."""

    agent = Agent(
        OpenAIChatModel(os.environ.get("OPENAI_MODEL") or "gpt-5-mini"),
        instructions="You work for a shop. Use your tools; be brief.",
        output_type=[str, DeferredToolRequests],
        tools=[get_weather, Tool(refund, requires_approval=True)],
    )


if __name__ == "__main__":
    InvocationsServer.run(ShopHandler)
