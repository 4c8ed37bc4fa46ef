"""The handler of an agent of the OpenAI Agents SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any, Final, cast

import msgspec
from agents import (
    Agent,
    InputGuardrailTripwireTriggered,
    OutputGuardrailTripwireTriggered,
    RawResponsesStreamEvent,
    RunConfig,
    RunContextWrapper,
    RunItemStreamEvent,
    Runner,
    RunResult,
    RunResultStreaming,
    RunState,
)
from agents.items import ToolApprovalItem, ToolCallItem, ToolCallOutputItem
from openai.types.responses import ResponseTextDeltaEvent
from pydantic_core import to_jsonable_python

from agentserver.errors import InvocationError
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

__all__ = ["OpenAIAgentsHandler"]

_FAILED: Final = "An error occurred while running the tool"


class OpenAIAgentsHandler(AgentHandler):
    """Serves an agent of the OpenAI Agents SDK.

    An input or an output that a guardrail stops is 400 ``refused``.

    Attributes:
        agent: The agent that a turn begins with; set it in the class, or in the constructor.
    """

    agent: Agent[Any]

    def input(self, turn: Turn) -> list[Any]:
        """What *turn* adds to the conversation: its message, as the items of an input."""
        return [{"role": "user", "content": turn.request.message or ""}]

    def options(self, turn: Turn) -> dict[str, Any]:
        """What else ``Runner.run`` is given for *turn*: ``context``, ``max_turns``, …; nothing by default."""
        return {}

    async def events(self, turn: Turn) -> AsyncGenerator[AgentEvent, None]:
        """As `AgentHandler.events` of *turn*; text of the model, calls of functions and their results."""
        options = self._options(turn)
        run = Runner.run_streamed(self.agent, await self._input(turn, options), **options)
        names = {asked.id: asked.name for asked in turn.waiting}
        try:
            with _refusals():
                async for event in run.stream_events():
                    if isinstance(event, RawResponsesStreamEvent):
                        if isinstance(event.data, ResponseTextDeltaEvent) and event.data.delta:
                            yield TextDelta(event.data.delta)
                    elif isinstance(event, RunItemStreamEvent):
                        item = event.item
                        if isinstance(item, ToolCallItem):
                            call = ToolCall(*_call(item.raw_item))
                            names[call.id] = call.name
                            yield call
                        elif isinstance(item, ToolCallOutputItem):
                            yield self._result(item, names)
        finally:
            await _ended(run)
        yield _outcome(turn, run)

    async def answer(self, turn: Turn) -> TurnOutcome:
        """As `AgentHandler.answer` of *turn*; the model is not asked to stream."""
        options = self._options(turn)
        with _refusals():
            return _outcome(turn, await Runner.run(self.agent, await self._input(turn, options), **options))

    async def _input(self, turn: Turn, options: dict[str, Any]) -> Any:
        kept: dict[str, Any] = {} if turn.state is None else msgspec.json.decode(turn.state)
        if not turn.waiting:
            return [*kept.get("items", ()), *self.input(turn)]
        context = options.pop("context", None)
        override = None if context is None else RunContextWrapper(context)
        turn.held = kept["run"]["context"]["usage"]
        state = await RunState.from_json(self.agent, kept["run"], context_override=override)
        for asked in state.get_interruptions():
            answer = turn.answer_to(_id_of(asked))
            if answer.approved:
                state.approve(asked)
            else:
                state.reject(asked, rejection_message=answer.reason)
        return state

    def _options(self, turn: Turn) -> dict[str, Any]:
        options = self.options(turn)
        if "run_config" not in options:
            options = {**options, "run_config": RunConfig(tracing_disabled=True)}
        if "hooks" not in options and is_traced():
            from agentserver.integrations.openai_agents._spans import RunSpans  # others do not pay for it

            options["hooks"] = spans = RunSpans()
            turn.ending.push(spans.over)
        return options

    def _result(self, item: ToolCallOutputItem, names: dict[str, str]) -> ToolResult:
        call_id = item.call_id or ""
        failed = isinstance(item.output, str) and item.output.startswith(_FAILED)
        output = to_jsonable_python(item.output) if self.tool_outputs and not failed else None
        return ToolResult(call_id, names.get(call_id, ""), failed, output)


async def _ended(run: RunResultStreaming) -> None:
    """See to it that *run* has ended, whatever becomes of who listened to it."""
    task = run.run_loop_task
    if task is None or task.done():
        return
    run.cancel()
    await asyncio.wait([task])


@contextmanager
def _refusals() -> Generator[None, None, None]:
    try:
        yield
    except (InputGuardrailTripwireTriggered, OutputGuardrailTripwireTriggered) as error:
        raise InvocationError("refused", "The agent does not deal with this") from error


def _outcome(turn: Turn, run: RunResult | RunResultStreaming) -> TurnOutcome:
    if run.interruptions:
        state = run.to_state().to_json(context_serializer=_no_context)
        turn.state = msgspec.json.encode({"run": state})
        return WaitingForHuman([_request(asked) for asked in run.interruptions])
    turn.state = msgspec.json.encode({"items": run.to_input_list()}, enc_hook=to_jsonable_python)
    output = run.final_output
    return Done(output if isinstance(output, str) else to_jsonable_python(output), _usage(turn, run))


def _usage(turn: Turn, run: RunResult | RunResultStreaming) -> Usage:
    used = run.context_wrapper.usage
    before: dict[str, int] = turn.held or {}  # of a run that waited, by then
    return Usage(
        used.input_tokens - before.get("input_tokens", 0), used.output_tokens - before.get("output_tokens", 0)
    )


def _no_context(_context: Any) -> dict[str, Any]:
    return {}  # what tools are given is the handler's, and made anew for each turn


def _request(asked: ToolApprovalItem) -> HumanRequest:
    return HumanRequest(_id_of(asked), "approval", asked.name or "", _arguments(asked.arguments))


def _id_of(asked: ToolApprovalItem) -> str:
    return asked.call_id or ""


def _call(item: Any) -> tuple[str, str, Any]:
    """Id, name and arguments of a call; of the model's own tools the type stands for the name."""
    known: dict[str, Any] = cast("dict[str, Any]", item) if isinstance(item, dict) else item.model_dump()
    call_id = known.get("call_id") or known.get("id") or ""
    return call_id, known.get("name") or known.get("type") or "", _arguments(known.get("arguments"))


def _arguments(text: str | None) -> Any:
    try:
        return None if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:  # the model wrote what is no JSON
        return text
