"""What a handler class offers, checked when it is registered: every mistake that can be seen is said then."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard, get_origin

from aiohttp import web

from agentserver._services.signature import signature_of
from agentserver.errors import HandlerError
from agentserver.invocations._handler_interface import HandlerInterface
from agentserver.invocations.handler import InvocationHandler, InvocationWebSocketHandler

if TYPE_CHECKING:
    from datetime import timedelta

    from agentserver._typed.contract import Contract
    from agentserver._typed.messages import Messages
    from agentserver.durable.options import Durable

_UNTYPED: Final = frozenset({"Request", "BaseRequest", "Any", "object"})
"""What an argument is annotated with that stands for the request as it is."""

_AS_THEY_CAME: Final[Mapping[str, frozenset[str]]] = {
    "handle": frozenset(),
    "invoke": frozenset({"Mapping", "MutableMapping", "dict", "Dict"}),
}
"""What else stands for what came as it is: the payload of an action is an object."""


class HandlerDefinition(NamedTuple):
    """A handler class that can serve.

    Args:
        type: The class.
        streaming: The operations that are async generators.
        contract: The types of ``handle``, if it names any.
        messages: The types of the WebSocket's messages, if it names any.
    """

    type: type[InvocationHandler]
    streaming: frozenset[str]
    contract: Contract | None = None
    messages: Messages | None = None

    @property
    def interface(self) -> HandlerInterface:
        """What its base classes offer."""
        return self.type._interface

    @property
    def durable(self) -> Durable | None:
        """How its runs behave, if it is durable."""
        return self.type._durable

    @property
    def idempotent(self) -> timedelta | None:
        """How long its answers are kept, if it is idempotent."""
        return self.type._idempotent

    def durable_websocket(self, calls: Any) -> Any:
        """What serves its WebSocket in the framework's name by *calls*; ``None`` if it does itself."""
        return self.type._durable_websocket(calls)


def define(handler: Any) -> HandlerDefinition:
    """Check a handler class.

    Raises:
        HandlerError: If it cannot serve; the sentence says what to write.
    """
    if not is_handler(handler):
        name: str = getattr(handler, "__name__", repr(handler))
        raise HandlerError(f"{name} is no handler: derive it from InvocationHandler")
    interface = handler._interface
    missing = sorted(getattr(handler, "__abstractmethods__", ()))
    known = interface.operations.keys() if handler._durable is None else {*interface.operations, "run"}
    own = _public_methods(handler) - known
    if missing:
        raise HandlerError(_what_is_missing(handler, missing[0], own))
    handler._check()
    streaming = frozenset(name for name in interface.operations if _streams(handler, name))
    if own:
        from agentserver.invocations._handler_mistakes import warn_of_misspelt  # most handlers have none

        warn_of_misspelt(
            handler, sorted(own), [name for name in interface.operations if is_ours(handler, name)]
        )
    messages = handler._typed_messages(streaming) or _messages(handler)
    examples = () if messages is not None else handler.examples  # they are messages then
    contract = _contract(handler, examples, streams="handle" in streaming)
    return HandlerDefinition(handler, streaming, contract, messages)


def _messages(handler: type[InvocationHandler]) -> Messages | None:
    if not _has_parameters(handler, InvocationWebSocketHandler) and not _takes_typed_websocket(handler):
        return None
    from agentserver.invocations._typed_messages import messages_of  # the others do not pay for msgspec

    return messages_of(handler)


def _takes_typed_websocket(handler: type[InvocationHandler]) -> bool:
    if "handle_websocket" not in handler._interface.operations or is_ours(handler, "handle_websocket"):
        return False
    method: Callable[..., Any] = getattr(handler, "handle_websocket")  # noqa: B009 - not every handler has it
    taken = list(signature_of(method).parameters.values())[1]
    return "TypedWebSocket" in str(taken.annotation)


def _has_parameters(handler: type[InvocationHandler], generic: type) -> bool:
    """Whether one of the user's classes says ``generic[…]``."""
    for base in handler.__mro__:
        if "_interface" in vars(base):
            break
        parents: tuple[Any, ...] = vars(base).get("__orig_bases__", ())
        if any(getattr(parent, "__origin__", None) is generic for parent in parents):
            return True
    return False


def _contract(handler: type[InvocationHandler], examples: Sequence[Any], *, streams: bool) -> Contract | None:
    if not names_types(handler, InvocationHandler, "handle"):
        return None
    from agentserver.invocations._typed_handler import contract_of  # the others do not pay for msgspec

    return contract_of(handler, streams=streams, examples=examples)


def names_types(handler: type[InvocationHandler], generic: type, method: str) -> bool:
    """Whether *method* takes an object made of what came, and not what came as it is.

    Args:
        handler: The class.
        generic: The base class whose parameters are the types.
        method: The method's name.
    """
    if is_ours(handler, method) or handler._durable is not None:
        return False
    if _has_parameters(handler, generic):
        return True
    taken = next(iter(list(signature_of(getattr(handler, method)).parameters.values())[1:]), None)
    if taken is None or taken.annotation is taken.empty:
        return False
    text = getattr(taken.annotation, "__forward_arg__", taken.annotation)
    if isinstance(text, str):
        return text.partition("[")[0].rpartition(".")[2] not in _UNTYPED | _AS_THEY_CAME[method]
    kind = get_origin(text) or text
    if not isinstance(kind, type):
        return kind is not Any
    came = kind.__name__ in _AS_THEY_CAME[method] or issubclass(kind, web.BaseRequest)
    return not came and kind is not object


def is_handler(kind: Any) -> TypeGuard[type[InvocationHandler]]:
    """Whether *kind* is a class of handlers."""
    return inspect.isclass(kind) and issubclass(kind, InvocationHandler)


def _public_methods(handler: type) -> set[str]:
    """The functions that the user's classes define, by name, without those that begin with an underscore."""
    users = [base for base in handler.__mro__ if is_handler(base)]
    return {
        name
        for base in users
        if "_interface" not in vars(base)
        for name, value in vars(base).items()
        if not name.startswith("_") and inspect.isfunction(value)
    }


def _what_is_missing(handler: type[InvocationHandler], missing: str, own: set[str]) -> str:
    from agentserver.invocations._handler_mistakes import misspelt

    signature = ", ".join(("self", *handler._interface.operations.get(missing, ())))
    sentence = f"{handler.__name__} does not say what to do: write 'async def {missing}({signature})'"
    found = next(misspelt(sorted(own), [missing]), None)
    return sentence if found is None else f"{sentence}, if that is what {found[0]} is meant to be"


def is_ours(handler: type, name: str) -> bool:
    """Whether the method *name* of *handler* is as a class of the framework's has it."""
    # The classes that bring a interface are the framework's own, and so are the methods they define.
    owner = next(base for base in handler.__mro__ if name in vars(base))
    return "_interface" in vars(owner)


def _streams(handler: type[InvocationHandler], name: str) -> bool:
    if is_ours(handler, name):
        return False
    method: Callable[..., Any] = getattr(handler, name)
    arguments = handler._interface.operations[name]
    should = f"write 'async def {name}({', '.join(('self', *arguments))})'"
    streams = inspect.isasyncgenfunction(method)
    if not streams and not inspect.iscoroutinefunction(method):
        raise HandlerError(f"{handler.__name__}.{name} is not async: {should}")
    if streams and name in handler._interface.non_streaming:
        instead = handler._interface.non_streaming[name]
        raise HandlerError(f"{handler.__name__}.{name} must not yield: {should} and {instead}")
    try:
        signature_of(method).bind(None, *arguments)
    except TypeError:
        raise HandlerError(f"{handler.__name__}.{name} takes other arguments: {should}") from None
    return streams
