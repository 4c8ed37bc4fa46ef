"""An agent of a framework, by our adapter or in a raw handler: ``framework.py NAME adapter|raw``."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agentserver import InvocationContext, InvocationHandler, InvocationsServer, ServerSentEvent

URL, MODEL = os.environ["OPENAI_BASE_URL"], "stand-in"


class Raw(InvocationHandler):
    """What one writes without an adapter; it keeps sessions as the framework's own objects."""

    def __init__(self) -> None:
        self.sessions: dict[str, Any] = {}

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        words: str = (await request.json())["message"]
        if "text/event-stream" in request.headers.get("Accept", ""):
            return self._stream(words, context.session_id)
        return {"output": await self.answer(words, context.session_id)}

    async def _stream(self, words: str, session: str) -> AsyncIterator[ServerSentEvent]:
        output = ""
        async for text in self.texts(words, session):
            output += text
            yield ServerSentEvent({"text": text}, event="text_delta")
        yield ServerSentEvent({"output": output}, event="done")

    async def answer(self, words: str, session: str) -> str:
        raise NotImplementedError

    def texts(self, words: str, session: str) -> AsyncIterator[str]:
        raise NotImplementedError


def pydantic_ai(kind: str) -> InvocationHandler | type[InvocationHandler]:
    from pydantic_ai import (
        Agent,
        AgentRunResultEvent,
        PartDeltaEvent,
        PartStartEvent,
        TextPart,
        TextPartDelta,
    )
    from pydantic_ai.models.openai import OpenAIChatModel

    from agentserver.integrations.pydantic_ai import PydanticAIHandler

    made = Agent(OpenAIChatModel(MODEL))

    class Adapter(PydanticAIHandler):
        agent = made

    class Own(Raw):
        async def answer(self, words: str, session: str) -> str:
            result = await made.run(words, message_history=self.sessions.get(session))
            self.sessions[session] = result.all_messages()
            return result.output

        async def texts(self, words: str, session: str) -> AsyncIterator[str]:
            history = self.sessions.get(session)
            async with made.run_stream_events(words, message_history=history) as events:
                async for event in events:
                    if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                        yield event.part.content
                    elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                        yield event.delta.content_delta
                    elif isinstance(event, AgentRunResultEvent):
                        self.sessions[session] = event.result.all_messages()

    return Adapter if kind == "adapter" else Own()


def openai_agents(kind: str) -> InvocationHandler | type[InvocationHandler]:
    from agents import Agent, OpenAIChatCompletionsModel, RunConfig, Runner
    from openai import AsyncOpenAI
    from openai.types.responses import ResponseTextDeltaEvent

    from agentserver.integrations.openai_agents import OpenAIAgentsHandler

    made: Agent[Any] = Agent(
        name="a", model=OpenAIChatCompletionsModel(model=MODEL, openai_client=AsyncOpenAI())
    )
    config = RunConfig(tracing_disabled=True)

    class Adapter(OpenAIAgentsHandler):
        agent = made

    class Own(Raw):
        async def answer(self, words: str, session: str) -> str:
            said = [*self.sessions.get(session, ()), {"role": "user", "content": words}]
            result = await Runner.run(made, said, run_config=config)
            self.sessions[session] = result.to_input_list()
            return str(result.final_output)

        async def texts(self, words: str, session: str) -> AsyncIterator[str]:
            said = [*self.sessions.get(session, ()), {"role": "user", "content": words}]
            result = Runner.run_streamed(made, said, run_config=config)
            async for event in result.stream_events():
                if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
                    yield event.data.delta
            self.sessions[session] = result.to_input_list()

    return Adapter if kind == "adapter" else Own()


def agent_framework(kind: str) -> InvocationHandler | type[InvocationHandler]:
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatCompletionClient

    from agentserver.integrations.agent_framework import AgentFrameworkHandler

    made = Agent(OpenAIChatCompletionClient(model=MODEL))

    class Adapter(AgentFrameworkHandler):
        agent = made

    class Own(Raw):
        def session(self, name: str) -> Any:
            return self.sessions.setdefault(name, made.create_session())

        async def answer(self, words: str, session: str) -> str:
            return (await made.run(words, session=self.session(session))).text

        async def texts(self, words: str, session: str) -> AsyncIterator[str]:
            async with made.run(words, stream=True, session=self.session(session)) as updates:
                async for update in updates:
                    if update.text:
                        yield update.text
                await updates.get_final_response()

    return Adapter if kind == "adapter" else Own()


def langgraph(kind: str) -> InvocationHandler | type[InvocationHandler]:
    from langchain_core.messages import AIMessageChunk
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, MessagesState, StateGraph

    from agentserver.integrations.langgraph import LangGraphHandler

    model = ChatOpenAI(model=MODEL, stream_usage=True)

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    own: Any = builder.compile(checkpointer=InMemorySaver())

    class Adapter(LangGraphHandler):
        graph: Any = builder.compile()

    class AdapterOfItsOwn(LangGraphHandler):
        graph: Any = own

    class Own(Raw):
        async def answer(self, words: str, session: str) -> str:
            state = await own.ainvoke(*self.turn(words, session))
            return str(state["messages"][-1].text)

        async def texts(self, words: str, session: str) -> AsyncIterator[str]:
            async for message, _ in own.astream(*self.turn(words, session), stream_mode="messages"):
                if isinstance(message, AIMessageChunk) and message.text:
                    yield str(message.text)

        def turn(self, words: str, session: str) -> tuple[Any, Any]:
            said = {"messages": [{"role": "user", "content": words}]}
            return said, {"configurable": {"thread_id": session}}

    return {"adapter": Adapter, "adapter, own checkpointer": AdapterOfItsOwn, "raw": Own()}[kind]


if __name__ == "__main__":
    make = {f.__name__: f for f in (agent_framework, langgraph, openai_agents, pydantic_ai)}[sys.argv[1]]
    InvocationsServer.run(make(sys.argv[2]))
