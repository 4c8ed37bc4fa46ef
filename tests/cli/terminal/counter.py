"""An agent that speaks the action protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from agentserver import ActionContext, InvocationActionHandler, InvocationError


class Counter(InvocationActionHandler):
    """Counts to the number in the payload, or for ever."""

    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncIterator[Any]:
        if "to" not in payload:
            raise InvocationError("no_number", "Say how far to count")
        for number in range(payload["to"] or 1):
            yield {"n": number}
        if not payload["to"]:
            await asyncio.Event().wait()

    async def get_invocation(self, context: ActionContext) -> Any:
        return {"state": "known", "id": context.invocation_id}
