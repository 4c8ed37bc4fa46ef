"""A WebSocket handler with types, as the endpoint calls one without."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args, get_origin

from aiohttp import web

from agentserver._typed.contract import Contract
from agentserver._typed.messages import Messages
from agentserver._typed.names import name_of
from agentserver._typed.parameters import annotations_of, arguments_of
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
    kind: Any = handler  # of those that have a WebSocket
    websocket = annotations_of(handler, kind.handle_websocket, strict=not named).taken
    annotated = get_args(websocket) if get_origin(websocket) is TypedWebSocket else named
    is_open = getattr(websocket, "__parameters__", ()) or Any in annotated  # says less than the class
    if named and annotated != named and not is_open:
        said, other = (", ".join(map(name_of, types)) for types in (named, annotated))
        raise HandlerError(
            f"{handler.__name__} says {said} in its base class and TypedWebSocket[{other}] in"
            " handle_websocket: write the same types in both"
        )
    named = named or annotated
    if len(named) != 2:
        raise HandlerError(
            f"{handler.__name__} does not name both types of its WebSocket: write"
            " InvocationWebSocketHandler[…, …], with what it takes and what it sends"
        )
    taken, given = codec_of(handler, "takes", named[0]), codec_of(handler, "sends", named[1])
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
