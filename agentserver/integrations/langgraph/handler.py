"""The handler of a graph of LangGraph."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from typing import Any, Final, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.types import Command, GraphOutput, StreamPart
from pydantic_core import to_jsonable_python

from agentserver.integrations._tracing import is_traced
from agentserver.integrations.events import (
    AgentEvent,
    Done,
    HumanRequest,
    TextDelta,
    ToolCall,
    ToolResult,
    TurnOutcome,
    Usage,
    WaitingForHuman,
)
from agentserver.integrations.handler import AgentHandler, Turn
from agentserver.integrations.langgraph._checkpoints import (
    Graph,
    Place,
    dump,
    own_place,
    requests_of,
    restore,
    thread,
    with_saver,
)

__all__ = ["LangGraphHandler"]

# Before Python 3.12 a model that waits with `asyncio.wait_for`, as langchain-openai's does, may lose a
# cancellation that comes with one of its chunks; from 3.11 on a task can say that it was cancelled.
_MAY_LOSE_CANCELLATIONS: Final = (3, 11) <= sys.version_info < (3, 12)


class LangGraphHandler(AgentHandler):
    """Serves a LangGraph graph.

    Attributes:
        graph: The compiled graph; set it in the class, or in the constructor.
        text_nodes: The nodes whose models speak to the caller; ``None`` is all of them. What other models
            write, such as one that only routes, is no `TextDelta`.
    """

    graph: Graph
    text_nodes: Collection[str] | None = None

    def input(self, turn: Turn) -> Any:
        """What the graph is given in *turn*: the message, for a state with ``messages``."""
        return {"messages": [{"role": "user", "content": turn.request.message or ""}]}

    def config(self, turn: Turn) -> RunnableConfig:
        """What *turn* is run with beside its thread, such as a ``recursion_limit``; nothing by default."""
        return {}

    def output(self, state: Any) -> Any:
        """The answer in the last *state*: the last message's text, or all of a state without ``messages``."""
        messages = cast("dict[str, Any]", state).get("messages") if isinstance(state, dict) else None
        last: Any = messages[-1] if messages else None
        return to_jsonable_python(state) if last is None else str(last.text)

    async def events(self, turn: Turn) -> AsyncGenerator[AgentEvent, None]:
        """As `AgentHandler.events` of *turn*; text of models, calls of tools and their results."""
        graph: Any = _place(turn).graph
        speech = _Speech(self.text_nodes, outputs=self.tool_outputs)
        state: Any = None
        waiting: list[HumanRequest] = []
        parts = graph.astream(
            self._input(turn),
            self._config(turn),
            stream_mode=["messages", "values"],
            subgraphs=True,
            durability=_place(turn).durability,
            version="v2",
        )
        async for part in cast("AsyncIterator[StreamPart[Any, Any]]", parts):
            if part["type"] == "messages":
                message, metadata = part["data"]
                for event in speech.hear(message, metadata.get("langgraph_node")):
                    yield event
            elif part["type"] == "values" and not part["ns"]:
                state, waiting = part["data"], requests_of(part["interrupts"])
        for event in speech.calls():
            yield event
        yield self._outcome(state, waiting, speech.used.usage)

    async def answer(self, turn: Turn) -> TurnOutcome:
        """As `AgentHandler.answer` of *turn*; models are not asked to stream."""
        graph: Any = _place(turn).graph
        used = _Used()
        result: GraphOutput[Any] = await graph.ainvoke(
            self._input(turn), self._config(turn, used), durability=_place(turn).durability, version="v2"
        )
        return self._outcome(result.value, requests_of(result.interrupts), used.usage)

    def _outcome(self, state: Any, waiting: list[HumanRequest], usage: Usage | None) -> TurnOutcome:
        return WaitingForHuman(waiting) if waiting else Done(self.output(state), usage)

    def _input(self, turn: Turn) -> Any:
        if not turn.waiting:
            return self.input(turn)
        return Command(resume={asked.id: turn.answer_to(asked.id).value for asked in turn.waiting})

    def _config(self, turn: Turn, *callbacks: BaseCallbackHandler) -> RunnableConfig:
        if is_traced():
            from agentserver.integrations.langgraph._spans import LangChainSpans  # others do not pay for it

            spans = LangChainSpans()
            turn.ending.push(spans.over)
            callbacks = (*callbacks, spans)
        if _MAY_LOSE_CANCELLATIONS:
            callbacks = (*callbacks, _Leaving())
        return merge_configs(self.config(turn), _place(turn).config, {"callbacks": [*callbacks]})

    async def _load(self, turn: Turn) -> None:
        checkpointer: Any = cast("Any", self.graph).checkpointer  # partly without types
        if checkpointer:
            turn.held, asked = await own_place(self.graph, checkpointer, turn.key)
            turn.waiting = requests_of(asked)
            return
        graph, saver = with_saver(self.graph, type(self))
        turn.held = place = Place(turn.key, graph, thread(turn.key), saver)
        turn.ending.callback(saver.delete_thread, turn.key)
        await super()._load(turn)
        if turn.state is not None:
            await restore(place, turn.state)

    async def _keep(self, turn: Turn, outcome: TurnOutcome) -> None:
        place = _place(turn)
        if place.saver is not None:
            turn.state = await dump(place, waiting=isinstance(outcome, WaitingForHuman))
            await super()._keep(turn, outcome)


def _place(turn: Turn) -> Place:
    assert isinstance(turn.held, Place)
    return turn.held


class _Leaving(BaseCallbackHandler):
    """Cancels a model that says something although the task that has begun the run was cancelled."""

    run_inline = True  # in the model's own task

    def __init__(self) -> None:
        self._task = asyncio.current_task()

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        """The model has said *token*."""
        if sys.version_info >= (3, 11) and self._task is not None and self._task.cancelling():
            raise asyncio.CancelledError


class _Used(BaseCallbackHandler):
    """Adds up what the models say that they have used."""

    run_inline = True  # LangChain would take a thread for each of the many things that it tells
    usage: Usage | None = None

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """A model has answered."""
        for generation in response.generations[0] if response.generations else ():
            if isinstance(generation, ChatGeneration):
                self.add(generation.message)

    def add(self, message: BaseMessage) -> None:
        """Add what the *message* of a model says of it, if it does."""
        if isinstance(message, AIMessage) and message.usage_metadata is not None:
            before, more = self.usage or Usage(0, 0), message.usage_metadata
            self.usage = Usage(
                before.input_tokens + more["input_tokens"], before.output_tokens + more["output_tokens"]
            )


class _Speech:
    """Makes events of the messages of a run, in the order in which they come.

    Args:
        nodes: Whose text is heard; ``None`` is everybody's.
        outputs: Whether what tools gave is shown.

    Attributes:
        used: What the models have used.
    """

    def __init__(self, nodes: Collection[str] | None, *, outputs: bool) -> None:
        self._nodes = nodes
        self._outputs = outputs
        self.used = _Used()
        # What models have said of calls so far, by the message's id: a call comes in pieces.
        self._unfinished: dict[str | None, AIMessageChunk] = {}

    def hear(self, message: BaseMessage, node: str | None) -> Iterator[AgentEvent]:
        """Hear a whole *message* of *node*, or a piece of one."""
        self.used.add(message)
        if isinstance(message, AIMessageChunk):
            yield from self._text(message, node)
            yield from self._piece(message)
        elif isinstance(message, AIMessage):
            yield from self._text(message, node)
            yield from _calls(message)
        elif isinstance(message, ToolMessage):
            yield from self.calls()
            failed = message.status == "error"
            output = to_jsonable_python(message.content) if self._outputs and not failed else None
            yield ToolResult(message.tool_call_id, message.name or "", failed, output)

    def calls(self) -> Iterator[AgentEvent]:
        """The calls that have been heard of and not been told yet."""
        for message in self._unfinished.values():
            yield from _calls(message)
        self._unfinished.clear()

    def _text(self, message: AIMessage, node: str | None) -> Iterator[AgentEvent]:
        text = message.text
        if text and (self._nodes is None or node in self._nodes):
            yield TextDelta(str(text))

    def _piece(self, message: AIMessageChunk) -> Iterator[AgentEvent]:
        known = self._unfinished.get(message.id)
        if known is not None:
            self._unfinished[message.id] = known + message
        elif message.tool_call_chunks:
            self._unfinished[message.id] = message
        if message.chunk_position == "last" and message.id in self._unfinished:
            yield from _calls(self._unfinished.pop(message.id))


def _calls(message: AIMessage) -> Iterator[AgentEvent]:
    for call in message.tool_calls:
        yield ToolCall(call["id"] or "", call["name"], call["args"])
    for wrong in message.invalid_tool_calls:
        yield ToolCall(wrong["id"] or "", wrong["name"] or "", wrong["args"])
