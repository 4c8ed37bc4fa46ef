"""What makes the handler object of a request, as the endpoints see it, and what a request brings to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Final, Protocol

from aiohttp import web

from agentserver.invocations.context import InvocationContext
from agentserver.invocations.handler import InvocationHandler

REQUEST_TYPES: Final = (web.Request, InvocationContext)
"""Of these each request brings an object, which handlers and what is made for them may ask for."""


def request_services(request: web.Request, context: InvocationContext) -> Mapping[type[Any], Any]:
    """What a request brings to the scope that serves it, by the types of `REQUEST_TYPES`."""
    return {web.Request: request, InvocationContext: context}


class HandlerFactory(Protocol):
    """Makes the handler object that serves a request."""

    @property
    def needs_scope(self) -> bool:
        """Whether the handler must come from `scope`, because services are closed after the request."""
        ...

    @property
    def create(self) -> Callable[[], InvocationHandler]:
        """Makes the handler at once; only without a need for a scope."""
        ...

    def scope(
        self, brought: Mapping[type[Any], Any] | None = None
    ) -> AbstractAsyncContextManager[InvocationHandler]:
        """Open the scope of one request, which gives the handler; *brought* comes from `request_services`."""
        ...


class PlainHandlerFactory:
    """Makes handlers that ask for nothing: no container is loaded for them."""

    needs_scope = False

    def __init__(self, make: Callable[[], InvocationHandler]) -> None:
        self.create = make

    def scope(
        self, brought: Mapping[type[Any], Any] | None = None
    ) -> AbstractAsyncContextManager[InvocationHandler]:
        """Give the handler; there is nothing to close."""
        return nullcontext(self.create())
