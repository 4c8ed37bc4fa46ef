"""The events as callers read them."""

from __future__ import annotations

import msgspec
import pytest

from agentserver.integrations.events import (
    AgentEvent,
    AgentRequest,
    Done,
    HumanAnswer,
    HumanRequest,
    TextDelta,
    ToolCall,
    ToolResult,
    Usage,
    WaitingForHuman,
)
from agentserver.integrations.handler import frame_of

EVENTS: list[AgentEvent] = [
    TextDelta("é\n"),
    ToolCall("c-1", "f", {"x": 1}),
    ToolResult("c-1", "f", output=[1]),
    WaitingForHuman([HumanRequest("c-1", "approval", "f", {"x": 1})]),
    Done({"x": 1}, Usage(1, 2)),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_caller_reads_what_was_said(event: AgentEvent) -> None:
    name, data, *end = frame_of(event).split(b"\n")
    assert end == [b"", b""]
    decoded = msgspec.json.decode(data.removeprefix(b"data: "), type=AgentEvent)
    assert decoded == event
    assert name.decode() == f"event: {type(event).__struct_config__.tag}"


def test_a_caller_says_no_more_than_it_must() -> None:
    assert msgspec.json.encode(AgentRequest("Hello")) == b'{"message":"Hello"}'
    answers = AgentRequest(answers=[HumanAnswer("c-1", approved=False, reason="no")])
    assert msgspec.json.encode(answers) == b'{"answers":[{"id":"c-1","approved":false,"reason":"no"}]}'
