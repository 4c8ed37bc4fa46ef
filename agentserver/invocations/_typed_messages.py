"""A WebSocket handler with types, as the endpoint calls one without, and the documents of its messages."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import msgspec
from aiohttp import web

from agentserver._typed.contract import Contract
from agentserver._typed.messages import Messages
from agentserver._typed.parameters import arguments_of
from agentserver.errors import HandlerError
from agentserver.invocations._typed_handler import codec_of, example_of
from agentserver.invocations.context import InvocationContext
from agentserver.invocations.handler import InvocationHandler, InvocationWebSocketHandler
from agentserver.invocations.typed_websocket import TypedWebSocket
from agentserver.wire import AGENT_VERSION_VARIABLE


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

    return asyncapi(contract, *about(handler))


def about(handler: type[InvocationHandler]) -> tuple[str, str, str]:
    """The title, the description (empty if nothing) and the version that documents of *handler* have."""
    description = inspect.cleandoc(vars(handler).get("__doc__") or "")
    return handler.__name__, description, os.environ.get(AGENT_VERSION_VARIABLE) or "1.0.0"


class _MessagesHandler:
    """One handler object of the user's, for one connection."""

    __slots__ = ("_contract", "_handler")

    def __init__(self, handler: InvocationWebSocketHandler, contract: Contract) -> None:
        self._handler = handler
        self._contract = contract

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Serve one connection with objects."""
        await self._handler.handle_websocket(TypedWebSocket[Any, Any](websocket, self._contract), context)


def documents_around(handler: type[InvocationHandler], messages: Messages) -> Callable[[Any], Any]:
    """What makes, of an object of *handler*, one that also serves the documents of its messages."""
    return partial(_DocumentedHandler, kind=handler, document=_Once(messages))


class _Once:
    """The document of a WebSocket, made when it is first asked for."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    @cached_property
    def json(self) -> bytes:
        return msgspec.json.encode(self._messages.document())

    @cached_property
    def yaml(self) -> str:
        from agentserver._typed.yaml_text import yaml_of

        return yaml_of(msgspec.json.decode(self.json))


class _DocumentedHandler:
    """One handler object of the user's; its own documents win."""

    __slots__ = ("_document", "_handler", "_kind")

    def __init__(self, handler: InvocationHandler, kind: type[InvocationHandler], document: _Once) -> None:
        self._handler = handler
        self._kind = kind
        self._document = document

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    async def get_asyncapi_json(self, request: web.Request) -> Any:
        """Answer with the handler's own document if it has one, else with the one of its messages."""
        if self._kind.get_asyncapi_json is not InvocationHandler.get_asyncapi_json:
            own: Any = self._handler.get_asyncapi_json(request)
            return await own
        return self._document.json

    async def get_asyncapi_yaml(self, request: web.Request) -> Any:
        """As `get_asyncapi_json`, in YAML."""
        if self._kind.get_asyncapi_yaml is not InvocationHandler.get_asyncapi_yaml:
            own: Any = self._handler.get_asyncapi_yaml(request)
            return await own
        return self._document.yaml
