"""A WebSocket handler with types, as the endpoint calls one without."""

from __future__ import annotations

from functools import partial
from typing import Any

from aiohttp import web

from agentserver._typed.contract import Contract
from agentserver._typed.messages import Messages
from agentserver._typed.parameters import arguments_of
from agentserver.errors import HandlerError
from agentserver.invocations._typed_handler import codec_of, example_of
from agentserver.invocations.context import InvocationContext
from agentserver.invocations.handler import InvocationHandler, InvocationWebSocketHandler
from agentserver.invocations.typed_websocket import TypedWebSocket


def messages_of(handler: type[InvocationHandler]) -> Messages:
    """What *handler* receives and sends over its WebSocket.

    Raises:
        HandlerError: If that cannot be read, written or told apart.
    """
    named = arguments_of(handler, InvocationWebSocketHandler) or ()
    received, sent = named if len(named) == 2 else (*named, Any)
    taken, given = codec_of(handler, "takes", received), codec_of(handler, "sends", sent)
    if taken is None or given is None:
        raise HandlerError(
            f"{handler.__name__} names one type for its WebSocket: write"
            " InvocationWebSocketHandler[…, …], with what it takes and what it sends"
        )
    examples = [example_of(handler, taken, example) for example in handler.examples]
    contract = Contract(handler.__name__, taken, given, streams=True, examples=examples, noun="a message")
    return Messages(
        contract, partial(_MessagesHandler, contract=contract), partial(_asyncapi, handler, contract)
    )


def _asyncapi(handler: type[InvocationHandler], contract: Contract) -> dict[str, Any]:
    from agentserver._typed.asyncapi import asyncapi
    from agentserver.invocations._typed_documents import about

    return asyncapi(contract, *about(handler))


class _MessagesHandler:
    """One handler object of the user's, for one connection."""

    __slots__ = ("_contract", "_handler")

    def __init__(self, handler: InvocationWebSocketHandler, contract: Contract) -> None:
        self._handler = handler
        self._contract = contract

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Serve one connection with objects."""
        await self._handler.handle_websocket(TypedWebSocket[Any, Any](websocket, self._contract), context)
