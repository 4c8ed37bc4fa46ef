"""The handler of an agent of Microsoft's Agent Framework."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, Final

import msgspec
from agent_framework import AgentResponse, AgentSession, Content, Message, SupportsAgentRun
from pydantic_core import to_jsonable_python

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

__all__ = ["AgentFrameworkHandler"]

_APPROVAL: Final = "function_approval_request"


class AgentFrameworkHandler(AgentHandler):
    """Serves an agent of the Agent Framework.

    Attributes:
        agent: The agent, or anything that runs as one; set it in the class, or in the constructor.
    """

    agent: SupportsAgentRun

    def input(self, turn: Turn) -> str | Message | Sequence[str | Message]:
        """What the agent is told in *turn*: its message. Override it to make use of its ``data``."""
        return turn.request.message or ""

    def options(self, turn: Turn) -> dict[str, Any]:
        """What else ``agent.run`` is given for *turn*, such as ``options``; nothing by default."""
        return {}

    async def events(self, turn: Turn) -> AsyncGenerator[AgentEvent, None]:
        """As `AgentHandler.events` of *turn*; text of the model, calls of functions and their results."""
        session, given = self._begin(turn)
        speech = _Speech(turn.held or {}, outputs=self.tool_outputs)
        async with self.agent.run(given, stream=True, session=session, **self.options(turn)) as stream:
            async for update in stream:
                for content in update.contents:
                    for event in speech.hear(content):
                        yield event
            response = await stream.get_final_response()
        for event in speech.calls():
            yield event
        yield _outcome(turn, session, response)

    async def answer(self, turn: Turn) -> TurnOutcome:
        """As `AgentHandler.answer` of *turn*; the model is not asked to stream."""
        session, given = self._begin(turn)
        response = await self.agent.run(given, session=session, **self.options(turn))
        return _outcome(turn, session, response)

    def _begin(self, turn: Turn) -> tuple[AgentSession, Any]:
        """The session of *turn*, and what the agent is told in it."""
        if turn.state is None:
            return self.agent.create_session(session_id=turn.key), self.input(turn)
        kept = msgspec.json.decode(turn.state)
        session = AgentSession.from_dict(kept["session"])
        if not turn.waiting:
            return session, self.input(turn)
        asked = [Content.from_dict(one) for one in kept["asked"]]
        calls = [content.function_call for content in asked if content.function_call is not None]
        turn.held = {call.call_id: call.name for call in calls}
        return session, _answers(turn, asked)


class _Speech:
    """Makes events of what a run's updates contain, in the order in which it comes.

    Args:
        names: The names of tools by the ids of calls that are known already.
        outputs: Whether what tools gave is shown.
    """

    def __init__(self, names: dict[str, str], *, outputs: bool) -> None:
        self._names = names
        self._outputs = outputs
        self._unfinished: dict[str, Content] = {}  # a call comes in pieces
        self._last = ""

    def hear(self, content: Content) -> Iterator[AgentEvent]:
        """Hear one *content* of an update."""
        if content.type == "text":
            if content.text and content.merge_mode != "replace":  # what it has said in pieces, said once more
                yield TextDelta(content.text)
        elif content.type == "function_call":
            self._last = content.call_id or self._last
            known = self._unfinished.get(self._last)
            self._unfinished[self._last] = content if known is None else known + content
        elif content.type == "function_result":
            yield from self.calls()
            yield self._result(content)
        elif content.type == _APPROVAL:
            yield from self.calls()

    def calls(self) -> Iterator[AgentEvent]:
        """The calls that have been heard of and not been told yet."""
        for call_id, content in self._unfinished.items():
            self._names[call_id] = content.name or ""
            yield ToolCall(call_id, content.name or "", _arguments(content))
        self._unfinished.clear()

    def _result(self, content: Content) -> ToolResult:
        call_id = content.call_id or ""
        failed = content.exception is not None
        output = to_jsonable_python(content.result) if self._outputs and not failed else None
        return ToolResult(call_id, self._names.get(call_id, ""), failed, output)


def _outcome(turn: Turn, session: AgentSession, response: AgentResponse[Any]) -> TurnOutcome:
    asked = [content for content in response.user_input_requests if content.type == _APPROVAL]
    kept = {"session": session.to_dict(), "asked": [content.to_dict() for content in asked]}
    turn.state = msgspec.json.encode(kept, enc_hook=to_jsonable_python)
    if asked:
        return WaitingForHuman([_request(content) for content in asked])
    used = response.usage_details
    usage = None
    if used is not None:
        usage = Usage(used.get("input_token_count") or 0, used.get("output_token_count") or 0)
    value = response.value
    return Done(response.text if value is None else to_jsonable_python(value), usage)


def _answers(turn: Turn, asked: Sequence[Content]) -> Message:
    """What the person says to what was *asked* in *turn*."""
    denied: list[Content] = []
    said: list[Content] = []
    for content in asked:
        answer = turn.answer_to(content.id or "")
        said.append(content.to_function_approval_response(bool(answer.approved)))
        call = content.function_call
        if answer.reason and not answer.approved and call is not None and call.call_id is not None:
            denied.append(Content.from_function_result(call.call_id, result=answer.reason))
    # A denial has no place for a reason; a result of the call has. But beside approvals of the same turn the
    # framework does not take results: it would ask once more.
    return Message("tool", denied) if len(denied) == len(said) else Message("user", said)


def _request(content: Content) -> HumanRequest:
    call = content.function_call
    assert call is not None
    return HumanRequest(content.id or "", "approval", call.name or "", _arguments(call))


def _arguments(call: Content) -> Any:
    try:
        return call.parse_arguments()
    except ValueError:  # the model wrote what is no JSON
        return call.arguments
