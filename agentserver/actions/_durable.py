"""Durable runs over the action protocol (contract, section 11): all that can be asked of them over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from agentserver._websocket.response import WebSocket
from agentserver.actions._server_connection import ActionServerConnection
from agentserver.actions.context import ActionContext
from agentserver.actions.frames import ListInvocations, SignalInvocation
from agentserver.durable._engine import StoreUnavailableError
from agentserver.durable._feed import EventsGoneError, StreamsEndError
from agentserver.durable._records import Event
from agentserver.errors import InvocationError
from agentserver.invocations._durable_calls import DurableCalls, begun, gone, standing
from agentserver.invocations.context import InvocationContext
from agentserver.wire import SESSION_ID_QUERY, ErrorCode

_LISTED: Final = {"session_id": SESSION_ID_QUERY}
"""Members of an action that have another name in a query."""


class DurableActions:
    """Answers the actions of all connections to a durable handler.

    Args:
        calls: Its runs.
        max_concurrent_invocations: As on the class.
        ping_interval: As on the class.
    """

    def __init__(self, calls: DurableCalls, max_concurrent_invocations: int, ping_interval: float) -> None:
        self.max_concurrent_invocations = max_concurrent_invocations
        self.ping_interval = ping_interval
        self._calls = calls

    @property
    def _durable_actions(self) -> DurableActions:
        return self

    async def handle_websocket(self, websocket: WebSocket, context: InvocationContext) -> None:
        """Speak the action protocol on one connection until it ends; runs go on."""
        await ActionServerConnection(self, websocket, context).run()

    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> dict[str, Any]:
        """Begin a run, or join the one of that id."""
        return await self.begin(payload, None, context)

    async def begin(
        self, payload: Mapping[str, Any], key: str | None, context: ActionContext
    ) -> dict[str, Any]:
        """Begin a run, or join the one of that id or *key*."""
        return begun(await self._calls.begin(context, context._headers, payload, key))

    async def get_invocation(self, context: ActionContext) -> dict[str, Any]:
        """Say how a run stands."""
        return (await self._calls.find(context, context.invocation_id)).snapshot()

    async def cancel_invocation(self, context: ActionContext) -> dict[str, Any]:
        """Have a run end."""
        run = await self._calls.find(context, context.invocation_id)
        return standing(await self._calls.cancel(run))

    async def answer(
        self, query: SignalInvocation | ListInvocations, context: ActionContext
    ) -> dict[str, Any]:
        """Give a run a signal, or say which runs there are."""
        if isinstance(query, ListInvocations):
            which = {_LISTED.get(name, name): str(value) for name, value in query.which.items()}
            return await self._calls.list(context, which)
        run = await self._calls.find(context, context.invocation_id)
        await self._calls.signal(run, query.name, query.payload)
        return {**standing(run), "status": "accepted"}

    async def events(self, after: int, context: ActionContext) -> AsyncGenerator[dict[str, Any], None]:
        """The events of a run above the id *after*, to its last."""
        run = await self._calls.find(context, context.invocation_id)
        try:
            async with aclosing(self._calls.follow(run, after)) as pages:
                async for page in pages:
                    for event in page:
                        yield _told(event)
        except EventsGoneError:
            raise gone() from None
        except (StreamsEndError, StoreUnavailableError):
            raise InvocationError(
                ErrorCode.UNAVAILABLE, "The events come no further here: ask again after the last", status=503
            ) from None


def _told(event: Event) -> dict[str, Any]:
    kind = {"event": event.kind} if event.kind else {}
    return {"id": event.id, **kind, "data": json.loads(event.data)}
