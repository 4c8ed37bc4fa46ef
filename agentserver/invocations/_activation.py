"""Where the handler object of a request comes from: a class, a function, or one shared object."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol, TypeAlias, get_type_hints

from agentserver.core._scopes import has_end
from agentserver.core.services import ServiceCollection, ServiceProvider
from agentserver.errors import HandlerError
from agentserver.invocations._definition import HandlerDefinition, define
from agentserver.invocations.handler import InvocationHandler

HandlerSource: TypeAlias = type[InvocationHandler] | InvocationHandler | Callable[..., InvocationHandler]


class Activator(Protocol):
    """Makes the handler object that serves a request."""

    @property
    def needs_scope(self) -> bool:
        """Whether the handler must come from `scope`, because services are closed after the request."""
        ...

    @property
    def create(self) -> Callable[[], InvocationHandler]:
        """Makes the handler at once; only without a need for a scope."""
        ...

    def scope(self) -> AbstractAsyncContextManager[InvocationHandler]:
        """Open the scope of one request, which gives the handler."""
        ...


class PlainActivator:
    """Makes handlers that ask for nothing: no container is loaded for them."""

    needs_scope = False

    def __init__(self, make: Callable[[], InvocationHandler]) -> None:
        self.create = make

    def scope(self) -> AbstractAsyncContextManager[InvocationHandler]:
        """Give the handler; there is nothing to close."""
        return nullcontext(self.create())


def activator(handler: HandlerSource, provider: ServiceProvider | None) -> Activator:
    """Find out how *handler*'s objects come to be.

    Raises:
        ServiceError: If its constructor asks for what nobody registered.
    """
    if provider is None:
        if isinstance(handler, InvocationHandler):
            return PlainActivator(lambda: handler)
        if not _asks_for_something(handler) and not has_end(handler):
            return PlainActivator(handler)
    return (provider or ServiceCollection().build()).activator(handler)


def definition(handler: HandlerSource) -> HandlerDefinition:
    """What *handler* offers. A function that does not say what it makes is called once to find out.

    Raises:
        HandlerError: If it cannot serve.
    """
    if isinstance(handler, InvocationHandler):
        return define(type(handler))
    if inspect.isclass(handler) or not callable(handler):
        return define(handler)
    made = _result_type(handler)
    if made is not None:
        return define(made)
    if _asks_for_something(handler):
        name = getattr(handler, "__name__", "the handler factory")
        raise HandlerError(f"{name} does not say which handler it makes: annotate it with '-> MyHandler'")
    return define(type(handler()))


def _result_type(factory: Callable[..., Any]) -> type | None:
    try:
        made = get_type_hints(factory).get("return")
    except (NameError, TypeError):
        return None
    concrete = inspect.isclass(made) and not inspect.isabstract(made)
    return made if concrete else None


def _asks_for_something(make: Callable[..., Any]) -> bool:
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(make).parameters.values()
    return any(p.default is p.empty and p.kind not in optional for p in parameters)
