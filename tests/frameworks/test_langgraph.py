"""What only graphs have: states of any shape, nodes that do not speak, threads of their own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

pytest.importorskip("langgraph", reason="make frameworks-test installs it")

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from pydantic import SecretStr
from typing_extensions import TypedDict

from agentserver.integrations.events import Done, TextDelta, Usage, WaitingForHuman
from agentserver.integrations.handler import Turn
from agentserver.integrations.langgraph import LangGraphHandler
from agentserver.testing import on_socket
from tests.frameworks.agents import KEY
from tests.frameworks.calls import ask, new_session, stream
from tests.frameworks.model import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Counted(TypedDict):
    count: int


async def test_a_state_without_messages_is_the_answer() -> None:
    async def add(state: Counted) -> dict[str, int]:
        return {"count": state["count"] + 1}

    builder = StateGraph(Counted)
    builder.add_node("add", add)
    builder.add_edge(START, "add")

    class Counter(LangGraphHandler):
        graph: Any = builder.compile()

        def input(self, turn: Turn) -> Counted:
            return {"count": turn.request.data["from"]}

    async with on_socket(Counter) as agent:
        assert await stream(agent, {"data": {"from": 4}}, "s") == [Done({"count": 5})]
        assert (await ask(agent, {"data": {"from": 1}}, "s"))[1]["output"] == {"count": 2}


async def test_a_node_that_only_routes_is_not_heard(model: StandIn) -> None:
    asked = ChatOpenAI(model="stand-in", base_url=model.url, api_key=SecretStr(KEY), max_retries=0)

    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await asked.ainvoke(state["messages"])]}

    async def route(state: MessagesState) -> dict[str, Any]:
        await asked.ainvoke([HumanMessage("where to?")])
        return {}

    async def end(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("That is all.")]}

    builder = StateGraph(MessagesState)
    builder.add_sequence([("route", route), ("speak", speak), ("end", end)])
    builder.add_edge(START, "route")

    class Routed(LangGraphHandler):
        graph: Any = builder.compile()
        text_nodes = ("speak", "end")

    async with on_socket(Routed) as agent:
        events = await stream(agent, "hello", new_session())
    text = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(text) == "You said: hello (1)That is all."
    assert isinstance(events[-1], Done)
    assert events[-1].output == "That is all."


async def test_the_thread_and_the_settings_reach_the_graph() -> None:
    seen: list[Any] = []

    async def look(state: Counted, config: RunnableConfig) -> dict[str, int]:
        seen.append({key: config.get("configurable", {}).get(key) for key in ("thread_id", "language")})
        return {}

    builder = StateGraph(Counted)
    builder.add_node("look", look)
    builder.add_edge(START, "look")

    class Looking(LangGraphHandler):
        graph: Any = builder.compile()

        def input(self, turn: Turn) -> Counted:
            return {"count": 0}

        def config(self, turn: Turn) -> RunnableConfig:
            return {"configurable": {"language": "fr"}}

    async with on_socket(Looking) as agent:
        await ask(agent, "x", "mine")
    assert seen == [{"thread_id": "mine", "language": "fr"}]


class Asked(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@pytest.mark.parametrize("own", [True, False])
async def test_a_graph_within_a_graph_waits_and_goes_on(own: bool) -> None:
    async def where(state: Asked) -> dict[str, Any]:
        city, day = interrupt("Which city?"), interrupt({"ask": "day"})
        return {"messages": [AIMessage(f"{city} on {day}")]}

    inner = StateGraph(Asked)
    inner.add_node("where", where)
    inner.add_edge(START, "where")
    outer = StateGraph(Asked)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")

    class Asking(LangGraphHandler):
        graph: Any = outer.compile(checkpointer=InMemorySaver() if own else None)

    async with on_socket(Asking) as agent:
        session = new_session()
        waiting = (await stream(agent, "go", session))[-1]
        for question, value in (("Which city?", "Rome"), ({"ask": "day"}, "Monday")):
            assert isinstance(waiting, WaitingForHuman)
            (asked,) = waiting.requests
            assert (asked.kind, asked.question) == ("value", question)
            events = await stream(agent, {"answers": [{"id": asked.id, "value": value}]}, session)
            waiting = events[-1]
        assert waiting == Done("Rome on Monday")
        assert (await stream(agent, "again", session))[-1].__class__ is WaitingForHuman


async def test_a_model_that_does_not_stream_is_heard_whole(model: StandIn) -> None:
    asked = ChatOpenAI(model="stand-in", base_url=model.url, api_key=SecretStr(KEY), disable_streaming=True)

    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await asked.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("speak", speak)
    builder.add_edge(START, "speak")

    class Whole(LangGraphHandler):
        graph: Any = builder.compile()

    async with on_socket(Whole) as agent:
        assert await stream(agent, "hello", new_session()) == [
            TextDelta("You said: hello (1)"),
            Done("You said: hello (1)", Usage(10, 5)),
        ]


class Stubborn(BaseChatModel):
    """Goes on when it is cancelled, as `asyncio.wait_for` may before Python 3.12."""

    speaks: Any
    left: Any

    @property
    def _llm_type(self) -> str:
        return "stubborn"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="One "))
        self.speaks.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        try:
            for _word in range(1000):
                yield ChatGenerationChunk(message=AIMessageChunk(content="moment "))
                await asyncio.sleep(0.02)
        finally:
            self.left.set()


@pytest.mark.skipif(
    sys.version_info < (3, 11) or sys.version_info >= (3, 12), reason="3.12 loses none; 3.10 cannot know"
)
async def test_a_model_whose_cancellation_is_lost_ends_with_its_next_word() -> None:
    model = Stubborn(speaks=asyncio.Event(), left=asyncio.Event())

    async def speak(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("speak", speak)
    builder.add_edge(START, "speak")

    class Speaking(LangGraphHandler):
        graph: Any = builder.compile()

    async with on_socket(Speaking) as agent:
        leaving = asyncio.create_task(stream(agent, "go", new_session()))
        await asyncio.wait_for(model.speaks.wait(), 10)
        leaving.cancel()
        await asyncio.wait_for(model.left.wait(), 5)
