"""The documents of handlers with types. No start pays for them: they are made when they are asked for."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import msgspec
from aiohttp import web

from agentserver._typed.contract import Contract
from agentserver._typed.messages import Messages
from agentserver._typed.openapi import About, openapi
from agentserver.invocations.handler import InvocationHandler
from agentserver.wire import AGENT_VERSION_VARIABLE


def openapi_of(
    handler: type[InvocationHandler], contract: Contract, server: str = "", version: str | None = None
) -> dict[str, Any]:
    """The document of *handler*, served under the path *server*, of the version that it says itself."""
    also = [
        name for name in ("get", "cancel") if getattr(handler, name) is not getattr(InvocationHandler, name)
    ]
    said = _about(handler, "handle", server, also)
    return openapi(contract, said, version or handler.openapi_version)


def openapi_of_runs(
    handler: type[InvocationHandler], contract: Contract, server: str = "", version: str | None = None
) -> dict[str, Any]:
    """As `openapi_of`, of a durable handler, and of the *contract* of its ``run``."""
    from agentserver._typed import openapi_runs

    return openapi_runs.openapi_of_runs(
        contract, _about(handler, "run", server), version or handler.openapi_version
    )


def asyncapi_of_runs(handler: type[InvocationHandler], contract: Contract) -> dict[str, Any]:
    """The document of the actions of a durable handler, and of the *contract* of its ``run``."""
    from agentserver._typed import asyncapi_runs

    return asyncapi_runs.asyncapi_of_runs(contract, *about(handler))


def _about(handler: type[InvocationHandler], method: str, server: str, also: Sequence[str] = ()) -> About:
    title, description, agent_version = about(handler)
    said = inspect.cleandoc(getattr(vars(handler).get(method), "__doc__", None) or "")
    return About(title, description, said, agent_version, server, also)


def about(handler: type[InvocationHandler]) -> tuple[str, str, str]:
    """The title, the description (empty if nothing) and the version that documents of *handler* have."""
    description = inspect.cleandoc(vars(handler).get("__doc__") or "")
    return handler.__name__, description, os.environ.get(AGENT_VERSION_VARIABLE) or "1.0.0"


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
