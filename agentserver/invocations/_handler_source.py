"""Where the handler object of a request comes from: a class, a function, or one shared object."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from typing_extensions import TypeIs

from agentserver._hosting.hooks import failed_at_startup
from agentserver._services.ends import has_end
from agentserver._services.signature import signature_of
from agentserver.errors import HandlerError, StartupError
from agentserver.invocations._handler_definition import HandlerDefinition, define, is_handler
from agentserver.invocations._handler_factory import REQUEST_TYPES, HandlerFactory, PlainHandlerFactory
from agentserver.invocations.handler import InvocationHandler

if TYPE_CHECKING:
    from agentserver._services.collection import ServiceProvider

Made: TypeAlias = (
    InvocationHandler
    | Awaitable[InvocationHandler]
    | AsyncIterator[InvocationHandler]
    | Iterator[InvocationHandler]
    | AbstractAsyncContextManager[InvocationHandler]
)
HandlerSource: TypeAlias = type[InvocationHandler] | InvocationHandler | Callable[..., Made]


def handler_factory(
    handler: HandlerSource, offered: HandlerDefinition, provider: ServiceProvider | None
) -> HandlerFactory:
    """Find out how *handler*'s objects come to be.

    Args:
        handler: What was registered.
        offered: Its definition.
        provider: Makes the services; ``None`` if none was registered.

    Raises:
        ServiceError: If its constructor asks for what nobody registered.
    """
    if provider is None:
        if _is_ready(handler):
            return PlainHandlerFactory(lambda: handler)
        if _makes_at_once(handler) and not _asks_for_something(handler) and not has_end(offered.type):
            return PlainHandlerFactory(cast("Callable[[], InvocationHandler]", handler))
        from agentserver._services.collection import ServiceCollection  # most handlers ask for nothing

        provider = ServiceCollection().build(REQUEST_TYPES)
    return provider.handler_factory(handler)


def definition(handler: HandlerSource) -> HandlerDefinition:
    """What *handler* offers. A function that does not say what it makes is called once to find out.

    Raises:
        HandlerError: If it cannot serve.
    """
    if _is_ready(handler):
        return define(type(handler))
    if inspect.isclass(handler) or not callable(handler):
        return define(handler)
    made = _result_type(handler)
    if made is not None:
        return define(made)
    if _asks_for_something(handler) or not _makes_at_once(handler):
        raise HandlerError(
            f"{_name_of(handler)} is a function that does not say which handler it makes: derive a class from"
            " InvocationHandler, or annotate the function with '-> MyHandler'"
        )
    try:
        return define(type(handler()))
    except StartupError:
        raise
    # The boundary of user code: the process ends with a sentence, and with where it was on request.
    except Exception as error:
        raise failed_at_startup(f"the handler factory {_name_of(handler)}", error) from error


def _result_type(factory: Callable[..., Any]) -> type[Any] | None:
    from agentserver._services.planner import result_of  # most handlers are classes

    made = result_of(factory)
    if made is None or made in (Any, object) or inspect.isabstract(made):
        return None
    if not is_handler(made):
        raise HandlerError(
            f"{_name_of(factory)} makes a {made.__name__}, which is no handler: derive a class from"
            " InvocationHandler and give that"
        )
    return made


def _is_ready(handler: object) -> TypeIs[InvocationHandler]:
    return isinstance(handler, InvocationHandler)


def _makes_at_once(make: object) -> bool:
    if inspect.isclass(make):
        return True
    waits = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
    return not any(test(make) for test in waits) and not hasattr(make, "__wrapped__")


def _asks_for_something(make: Callable[..., Any]) -> bool:
    if inspect.isclass(make) and make.__init__ is object.__init__ and make.__new__ is object.__new__:
        return False  # inspect would read this off the text of object's own documentation, in 2 ms
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = signature_of(make).parameters.values()
    return any(p.default is p.empty and p.kind not in optional for p in parameters)


def _name_of(factory: Callable[..., Any]) -> str:
    return str(getattr(factory, "__name__", None) or repr(factory))
