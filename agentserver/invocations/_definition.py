"""What a handler class offers, checked when it is registered: every mistake that can be seen is said then."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agentserver.errors import HandlerError
from agentserver.invocations.handler import InvocationHandler, InvocationWebSocketHandler

# Each operation's arguments after self, as a handler must accept them by position.
OPERATIONS: Final[dict[str, tuple[str, ...]]] = {
    "handle": ("request", "context"),
    "get": ("invocation_id", "request", "context"),
    "cancel": ("invocation_id", "request", "context"),
    "get_openapi": ("request",),
    "get_asyncapi_json": ("request",),
    "get_asyncapi_yaml": ("request",),
}
WEBSOCKET_OPERATION: Final = {"handle_websocket": ("websocket", "context")}


@dataclass(frozen=True)
class HandlerDefinition:
    """A handler class that can serve.

    Args:
        type: The class.
        streaming: The operations that are async generators.
    """

    type: type[InvocationHandler]
    streaming: frozenset[str]

    @property
    def is_websocket(self) -> bool:
        """Whether it serves ``invocations_ws``."""
        return issubclass(self.type, InvocationWebSocketHandler)


def define(handler: Any) -> HandlerDefinition:
    """Check a handler class.

    Raises:
        HandlerError: If it cannot serve; the sentence says what to write.
    """
    if not inspect.isclass(handler) or not issubclass(handler, InvocationHandler):
        name: str = getattr(handler, "__name__", repr(handler))
        raise HandlerError(f"{name} is no handler: derive it from InvocationHandler")
    missing = sorted(getattr(handler, "__abstractmethods__", ()))
    if missing:
        signature = ", ".join(("self", *_operations(handler).get(missing[0], ())))
        raise HandlerError(
            f"{handler.__name__} does not say what to do: write 'async def {missing[0]}({signature})'"
        )
    streaming = {
        name for name, arguments in _operations(handler).items() if _streams(handler, name, arguments)
    }
    return HandlerDefinition(handler, frozenset(streaming))


def _operations(handler: type) -> dict[str, tuple[str, ...]]:
    return OPERATIONS | WEBSOCKET_OPERATION if issubclass(handler, InvocationWebSocketHandler) else OPERATIONS


def _streams(handler: type, name: str, arguments: tuple[str, ...]) -> bool:
    method: Callable[..., Any] = getattr(handler, name)
    if method in (getattr(InvocationHandler, name, None), getattr(InvocationWebSocketHandler, name, None)):
        return False
    should = f"write 'async def {name}({', '.join(('self', *arguments))})'"
    streams = inspect.isasyncgenfunction(method)
    if not streams and not inspect.iscoroutinefunction(method):
        raise HandlerError(f"{handler.__name__}.{name} is not async: {should}")
    if streams and name in WEBSOCKET_OPERATION:
        raise HandlerError(f"{handler.__name__}.{name} must not yield: {should} and send on the websocket")
    try:
        inspect.signature(method).bind(None, *arguments)
    except TypeError:
        raise HandlerError(f"{handler.__name__}.{name} takes other arguments: {should}") from None
    return streams
