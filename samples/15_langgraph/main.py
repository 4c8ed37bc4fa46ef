"""A graph of LangGraph: a person must agree before it gives money back."""

import os
import sys
from typing import Annotated, Any

from agentserver import InvocationsServer
from agentserver.integrations.langgraph import LangGraphHandler
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt

if not os.environ.get("OPENAI_API_KEY"):
    sys.exit("Set OPENAI_API_KEY; and OPENAI_BASE_URL for a service beside OpenAI's that speaks its protocol")


@tool
def get_weather(city: Annotated[str, "The name of the city"]) -> str:
    """Say how the weather is, for those who ask when a parcel comes."""
    return f"It is sunny in {city}."


@tool
def refund(order: Annotated[str, "The number of the order"]) -> str:
    """Give the money for an order back; a person must agree."""
    if interrupt({"question": f"Refund order {order}?"}) is not True:
        return f"Order {order} was not refunded: nobody agreed."
    return f"Order {order} has been refunded."


TOOLS = [get_weather, refund]
MODEL = ChatOpenAI(model=os.environ.get("OPENAI_MODEL") or "gpt-5-mini", stream_usage=True).bind_tools(TOOLS)


async def answer(state: MessagesState) -> dict[str, Any]:
    """Let the model answer, or call a tool."""
    instructions = ("system", "You work for a shop. Use your tools; be brief.")
    return {"messages": [await MODEL.ainvoke([instructions, *state["messages"]])]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_node("tools", ToolNode(TOOLS))
builder.add_edge(START, "answer")
builder.add_conditional_edges("answer", tools_condition)
builder.add_edge("tools", "answer")


class ShopHandler(LangGraphHandler):
    """Serves the graph: a thread for each session."""

    graph = builder.compile()


if __name__ == "__main__":
    InvocationsServer.run(ShopHandler)
