"""Durable handler classes: what the flag makes of a class, and what such a class must be."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from agentserver._services.signature import signature_of
from agentserver.durable.options import Durable
from agentserver.errors import HandlerError
from agentserver.invocations._durable_input import Reader, input_reader

_SHOULD = "write 'async def run(self, input, run)'"
_OURS = ("handle", "get", "cancel")


def durable_options(cls: type, durable: object) -> Durable | None:
    """The options that the class argument *durable* stands for.

    Raises:
        HandlerError: If it is none.
    """
    if durable is True:
        return Durable()
    if durable is None or durable is False or isinstance(durable, Durable):
        return durable or None
    raise HandlerError(f"{cls.__name__} has durable={durable!r}: write durable=True or durable=Durable(…)")


def take_over(cls: Any) -> None:
    """Have the framework answer for *cls*: its ``handle`` is never called.

    Raises:
        HandlerError: If it has methods that the framework's would hide.
    """
    for name in _OURS:
        if name in vars(cls):
            raise HandlerError(
                f"{cls.__name__} is durable and has {name} of its own: the framework answers for durable"
                " handlers; remove it, or remove durable"
            )

    async def handle(self: object, request: object, context: object) -> None:
        raise NotImplementedError("a durable handler is called by run")

    cls.handle = handle


def reader_of(cls: type) -> Reader:
    """Check the ``run`` of the durable class *cls*; what makes its input.

    Raises:
        HandlerError: If it has none, or one that cannot serve; the sentence says what to write.
    """
    run: Any = getattr(cls, "run", None)
    if run is None:
        raise HandlerError(f"{cls.__name__} is durable and does not say what to do: {_SHOULD}")
    if inspect.isasyncgenfunction(run):
        raise HandlerError(f"{cls.__name__}.run must not yield: use run.emit, and {_SHOULD}")
    if not inspect.iscoroutinefunction(run):
        raise HandlerError(f"{cls.__name__}.run is not async: {_SHOULD}")
    signature = signature_of(run)
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise HandlerError(f"{cls.__name__}.run takes other arguments: {_SHOULD}") from None
    first = list(signature.parameters)[1]
    try:
        hints = typing.get_type_hints(run)
    except (NameError, TypeError) as error:
        raise HandlerError(
            f"{cls.__name__}.run has an annotation that cannot be read ({error}): import what it names"
        ) from None
    return input_reader(cls, hints.get(first, Any))
