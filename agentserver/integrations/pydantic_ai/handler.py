"""The handler of an agent of Pydantic AI."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import cache
from typing import Any, Final

from pydantic_ai import (
    AgentRunResult,
    AgentRunResultEvent,
    DeferredToolRequests,
    DeferredToolResults,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessagesTypeAdapter,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolDenied,
    UserContent,
)
from pydantic_ai.agent import AbstractAgent
from pydantic_ai.capabilities import AbstractCapability, Instrumentation
from pydantic_ai.models.instrumented import InstrumentationSettings
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

__all__ = ["PydanticAIHandler"]

_SUCCESS: Final = "success"


class PydanticAIHandler(AgentHandler):
    """Serves a Pydantic AI agent.

    Attributes:
        agent: The agent; set it in the class, or in the constructor.
    """

    agent: AbstractAgent[Any, Any]

    def input(self, turn: Turn) -> str | Sequence[UserContent] | None:
        """What the agent is told in *turn*: its message. Override it to make use of its ``data``."""
        return turn.request.message

    def options(self, turn: Turn) -> dict[str, Any]:
        """What else ``agent.run`` is given for *turn*: ``deps``, ``usage_limits``, …; nothing by default."""
        return {}

    async def events(self, turn: Turn) -> AsyncGenerator[AgentEvent, None]:
        """As `AgentHandler.events` of *turn*; text of the model, calls of functions and their results."""
        async with self.agent.run_stream_events(self._prompt(turn), **self._arguments(turn)) as events:
            async for event in events:
                # In the order of how often they come.
                if isinstance(event, PartDeltaEvent):
                    delta = event.delta
                    if isinstance(delta, TextPartDelta) and delta.content_delta:
                        yield TextDelta(delta.content_delta)
                elif isinstance(event, PartStartEvent):
                    if isinstance(event.part, TextPart) and event.part.content:
                        yield TextDelta(event.part.content)
                elif isinstance(event, FunctionToolCallEvent):
                    yield _call(event.part)
                elif isinstance(event, FunctionToolResultEvent):
                    yield self._result(event)
                elif isinstance(event, AgentRunResultEvent):
                    yield _outcome(turn, event.result)

    async def answer(self, turn: Turn) -> TurnOutcome:
        """As `AgentHandler.answer` of *turn*; the model is not asked to stream."""
        return _outcome(turn, await self.agent.run(self._prompt(turn), **self._arguments(turn)))

    def _prompt(self, turn: Turn) -> str | Sequence[UserContent] | None:
        return None if turn.waiting else self.input(turn)

    def _arguments(self, turn: Turn) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            **self.options(turn),
            "message_history": None
            if turn.state is None
            else ModelMessagesTypeAdapter.validate_json(turn.state),
        }
        if turn.waiting:
            arguments["deferred_tool_results"] = _answers(turn)
        if is_traced():
            arguments["capabilities"] = [*arguments.get("capabilities", ()), *_instrumentation()]
        return arguments

    def _result(self, event: FunctionToolResultEvent) -> ToolResult:
        part = event.part
        failed = part.outcome != _SUCCESS
        output = to_jsonable_python(part.content) if self.tool_outputs and not failed else None
        return ToolResult(part.tool_call_id, part.tool_name, failed, output)


@cache
def _instrumentation() -> list[AbstractCapability[Any]]:
    """Spans without what was said."""
    settings = InstrumentationSettings(include_content=False, include_binary_content=False)
    return [Instrumentation(settings)]


def _call(part: ToolCallPart) -> ToolCall:
    return ToolCall(part.tool_call_id, part.tool_name, _arguments_of(part))


def _arguments_of(part: ToolCallPart) -> Any:
    try:
        return part.args_as_dict()
    except ValueError:  # the model wrote what is no JSON
        return part.args


def _outcome(turn: Turn, result: AgentRunResult[Any]) -> TurnOutcome:
    turn.state = result.all_messages_json()
    output = result.output
    if isinstance(output, DeferredToolRequests):
        return WaitingForHuman(
            [
                *(_request(part, "approval") for part in output.approvals),
                *(_request(part, "value") for part in output.calls),
            ]
        )
    usage = result.usage
    return Done(
        output if isinstance(output, str) else to_jsonable_python(output),
        Usage(usage.input_tokens, usage.output_tokens),
    )


def _request(part: ToolCallPart, kind: Any) -> HumanRequest:
    return HumanRequest(part.tool_call_id, kind, part.tool_name, _arguments_of(part))


def _answers(turn: Turn) -> DeferredToolResults:
    results = DeferredToolResults()
    for asked in turn.waiting:
        answer = turn.answer_to(asked.id)
        if asked.kind == "value":
            results.calls[asked.id] = answer.value
        elif answer.approved:
            results.approvals[asked.id] = True
        else:
            results.approvals[asked.id] = ToolDenied(answer.reason) if answer.reason else False
    return results
