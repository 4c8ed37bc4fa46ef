"""What an agent is sent and what it says, the same for every framework.

Over HTTP an event is a server-sent event of the name of its ``type``; over actions it is the payload of a
``stream_chunk``. A caller in Python reads one with ``msgspec.json.decode(data, type=AgentEvent)``.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "AgentEvent",
    "AgentRequest",
    "Done",
    "HumanAnswer",
    "HumanRequest",
    "TextDelta",
    "ToolCall",
    "ToolResult",
    "TurnOutcome",
    "Usage",
    "WaitingForHuman",
]


class HumanAnswer(Struct, frozen=True, omit_defaults=True):
    """A person's answer to one `HumanRequest`.

    Args:
        id: That of the request.
        approved: Whether the call may be made; for a request of kind ``approval``.
        value: What was asked for, any JSON; for a request of kind ``value``.
        reason: Why a call was not approved, for the model.
    """

    id: str
    approved: bool | None = None
    value: Any = None
    reason: str | None = None


class AgentRequest(Struct, frozen=True, omit_defaults=True):
    """The body of ``POST /invocations``, and the payload of an ``invoke``.

    Args:
        message: What the user says.
        answers: Answers to everything that the session waits for, instead of a message.
        data: Whatever else the agent takes, any JSON; its handler makes something of it.
    """

    message: str | None = None
    answers: list[HumanAnswer] = []
    data: Any = None


class TextDelta(Struct, frozen=True, tag_field="type", tag="text_delta"):
    """A piece of the answer's text, as the model writes it.

    Args:
        text: Never empty; the pieces of a turn make its text.
    """

    text: str


class ToolCall(Struct, frozen=True, tag_field="type", tag="tool_call"):
    """The model calls a tool.

    Args:
        id: The call's, the same in its `ToolResult`.
        name: The tool's.
        arguments: What the model gives it: an object, or text if that is no JSON.
    """

    id: str
    name: str
    arguments: Any


class ToolResult(Struct, frozen=True, tag_field="type", tag="tool_result"):
    """A tool has answered.

    Args:
        id: The call's.
        name: The tool's; empty if the framework does not say.
        failed: Whether it failed, as far as the framework says so.
        output: What it gave; ``None`` if it failed, and unless the handler shows it (``tool_outputs``).
    """

    id: str
    name: str
    failed: bool = False
    output: Any = None


class HumanRequest(Struct, frozen=True, omit_defaults=True):
    """Something that a person must say before the run goes on.

    Args:
        id: What the `HumanAnswer` must have.
        kind: ``approval`` asks for yes or no, ``value`` for any JSON.
        name: The tool that is to be called, if it is about one.
        arguments: What the tool would be given.
        question: What the agent asks, any JSON; ``None`` if the tool and its arguments are the question.
    """

    id: str
    kind: Literal["approval", "value"]
    name: str = ""
    arguments: Any = None
    question: Any = None


class WaitingForHuman(Struct, frozen=True, tag_field="type", tag="waiting_for_human"):
    """The run waits, and the next call of the session must answer; the last event of its turn.

    Args:
        requests: What must be answered, all of it.
    """

    requests: list[HumanRequest]


class Usage(Struct, frozen=True):
    """What the turn has used, as far as the model says.

    Args:
        input_tokens: Sent to the model, over all calls of the turn.
        output_tokens: Written by it.
    """

    input_tokens: int
    output_tokens: int


class Done(Struct, frozen=True, tag_field="type", tag="done"):
    """The turn is over; its last event, and the answer where no events were asked for.

    Args:
        output: The agent's text; or, of an agent with a type for its output, that as JSON.
        usage: What the turn has used; ``None`` if the framework does not say.
    """

    output: Any
    usage: Usage | None = None


TurnOutcome: TypeAlias = Done | WaitingForHuman
"""How a turn ends: the last event, or the whole answer."""

AgentEvent: TypeAlias = TextDelta | ToolCall | ToolResult | WaitingForHuman | Done
"""Everything that a turn may say, in the order in which it happens."""

OUTCOMES: Final = (Done, WaitingForHuman)
