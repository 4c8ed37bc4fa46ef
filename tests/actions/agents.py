"""Agents that speak the action protocol, and the frames that they answer with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationError,
)
from tests.actions.conversation import Conversation, Frame

Payload = Mapping[str, Any]


@dataclass
class Point:
    x: int


class Agent(InvocationActionHandler):
    """Does what the payload says."""

    async def invoke(self, payload: Payload, context: ActionContext) -> Any:
        if "raise" in payload:
            raise RuntimeError(payload["raise"])
        if "refuse" in payload:
            raise InvocationError("quota_exceeded", payload["refuse"])
        if "count" in payload:
            return count(payload["count"])
        if "wait" in payload:
            await asyncio.Event().wait()
        return {"echo": payload}


async def count(end: int) -> AsyncIterator[Any]:
    for number in range(end):
        yield {"number": number}


class Counter(InvocationActionHandler):
    """Counts to ``to``, then does what ``then`` says."""

    async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
        for number in range(payload["to"]):
            yield number
        then = payload.get("then")
        if then == "wait":
            await asyncio.Event().wait()
        elif then == "refuse":
            raise InvocationError("enough", "That is enough")
        elif then == "raise":
            raise RuntimeError("a secret")
        elif then == "nonsense":
            yield object()


def chunk(invocation_id: str, payload: Any) -> Frame:
    return {"type": "stream_chunk", "invocation_id": invocation_id, "session_id": "s", "payload": payload}


def end(invocation_id: str) -> Frame:
    return {"type": "stream_end", "invocation_id": invocation_id, "session_id": "s"}


def error(invocation_id: str, code: str, message: str) -> Frame:
    details = {"code": code, "message": message}
    return {"type": "error", "invocation_id": invocation_id, "session_id": "s", "error": details}


async def still_serves(conversation: Conversation) -> None:
    await conversation.invoke("last", "s", a=1)
    assert (await conversation.frame())["payload"] == {"echo": {"a": 1}}
