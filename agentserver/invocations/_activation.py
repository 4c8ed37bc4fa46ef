"""Makes the handler object that serves a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from agentserver.invocations._definition import HandlerDefinition, define
from agentserver.invocations.handler import InvocationHandler

HandlerSource: TypeAlias = type[InvocationHandler] | InvocationHandler | Callable[..., InvocationHandler]


@dataclass(frozen=True)
class Activator:
    """Makes handlers with a plain call: of a class without arguments, a factory, or one shared object.

    Args:
        make: Makes or hands out the handler.
        needs_scope: Whether services must be closed after the request.
    """

    make: Callable[[], InvocationHandler]
    needs_scope: bool = False

    @asynccontextmanager
    async def scope(self) -> AsyncGenerator[InvocationHandler, None]:
        """The handler of one request."""
        yield self.make()


def resolve(handler: HandlerSource) -> tuple[HandlerDefinition, Activator]:
    """What *handler* offers, and how its objects come to be.

    Raises:
        StartupError: If it cannot serve.
    """
    if isinstance(handler, InvocationHandler):
        return define(type(handler)), Activator(lambda: handler)
    if isinstance(handler, type):
        return define(handler), Activator(handler)
    return define(type(handler())), Activator(handler)
