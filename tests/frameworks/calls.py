"""How tests call an agent of any framework."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import msgspec

from agentserver.integrations.events import AgentEvent
from agentserver.testing import AgentUnderTest

EVENTS = {"Accept": "text/event-stream"}
_sessions = count()


def new_session() -> str:
    """An id that no other test has."""
    return f"session-{next(_sessions)}"


def path(session: str) -> str:
    """Where an invocation of *session* goes."""
    return f"/invocations?agent_session_id={session}"


async def ask(agent: AgentUnderTest, body: Any, session: str) -> tuple[int, Any]:
    """The status, and the JSON that came."""
    body = {"message": body} if isinstance(body, str) else body
    async with agent.http.post(path(session), json=body) as response:
        return response.status, await response.json()


async def stream(agent: AgentUnderTest, body: Any, session: str) -> list[AgentEvent]:
    """Every event, read as callers read them."""
    body = {"message": body} if isinstance(body, str) else body
    async with agent.http.post(path(session), json=body, headers=EVENTS) as response:
        text = await response.text()
        assert response.status == 200, text
    frames = [frame.split("\ndata: ") for frame in text.split("\n\n") if frame]
    events: list[AgentEvent] = [msgspec.json.decode(data, type=AgentEvent) for _, data in frames]
    names = [name.removeprefix("event: ") for name, _ in frames]
    assert names == [json.loads(data)["type"] for _, data in frames]
    return events


def types(events: list[AgentEvent]) -> list[str]:
    """What kinds of events came, those in a row once."""
    found: list[str] = []
    for event in events:
        if not found or found[-1] != type(event).__name__:
            found.append(type(event).__name__)
    return found
