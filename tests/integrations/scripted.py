"""A handler that needs no framework: it does what the words of its turn say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from agentserver.errors import InvocationError
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
from agentserver.integrations.sessions import MemorySessionStore, SessionStore

APPROVAL = HumanRequest("call-1", "approval", "refund", {"order": "A-7"})
QUESTION = HumanRequest("ask-1", "value", question="Which city?")


class Scripted(AgentHandler):
    """Remembers all that was said, and how its turns ended."""

    sessions: SessionStore = MemorySessionStore()
    begun: ClassVar[list[str]] = []
    ended: ClassVar[list[str]] = []
    gate: ClassVar[asyncio.Event] = asyncio.Event()

    async def events(self, turn: Turn) -> AsyncIterator[AgentEvent]:
        """Say each word, call a tool if asked to, and end."""
        words = turn.request.message or "answered"
        self.begun.append(words)
        try:
            for word in words.split():
                yield TextDelta(word)
            await self._act(words)
            if words == "refund" or turn.waiting:
                yield ToolCall("call-1", "refund", {"order": "A-7"})
            if turn.waiting:
                yield ToolResult("call-1", "refund")
            yield self._outcome(turn, words)
        finally:
            self.ended.append(words)

    async def answer(self, turn: Turn) -> TurnOutcome:
        """The same at once."""
        words = turn.request.message or "answered"
        self.begun.append(words)
        try:
            await self._act(words)
            return self._outcome(turn, words)
        finally:
            self.ended.append(words)

    async def _act(self, words: str) -> None:
        if words == "wait":
            await self.gate.wait()
        if words == "break":
            raise RuntimeError("the password is 1234")
        if words == "refuse":
            raise InvocationError("no", "No such thing", status=422)

    def _outcome(self, turn: Turn, words: str) -> TurnOutcome:
        said: list[Any] = [] if turn.state is None else json.loads(turn.state)
        said.append([answer.approved for answer in turn.request.answers] or words)
        turn.state = json.dumps(said).encode()
        if words == "refund":
            return WaitingForHuman([APPROVAL])
        if words == "ask both":
            return WaitingForHuman([APPROVAL, QUESTION])
        if words == "nonsense":
            return Done(object())
        if turn.request.data is not None:
            return Done(turn.request.data)
        return Done(said, Usage(len(said), 1))
