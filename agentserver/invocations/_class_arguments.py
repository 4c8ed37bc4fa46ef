"""What the arguments of a handler class make of it: durable runs, idempotent answers; and what it must be."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any, Final

from agentserver._services.signature import signature_of
from agentserver.durable.options import Durable
from agentserver.errors import HandlerError

_KEPT: Final = timedelta(hours=1)
_SHOULD: Final = "write 'async def run(self, input, run)'"


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


def kept_for(cls: Any, idempotent: object) -> timedelta | None:
    """How long answers are kept, as the class argument *idempotent* says.

    Raises:
        HandlerError: If it says something else, or the class is durable.
    """
    if idempotent is False:
        return None
    if cls._durable is not None:
        raise HandlerError(f"{cls.__name__} is durable, and so idempotent already: remove idempotent")
    if idempotent is True:
        return _KEPT
    if isinstance(idempotent, timedelta) and idempotent > timedelta(0):
        return idempotent
    raise HandlerError(
        f"{cls.__name__} has idempotent={idempotent!r}: write idempotent=True, or how long, such as"
        " idempotent=timedelta(hours=1)"
    )


def take_over(cls: Any) -> None:
    """Have the framework answer for *cls*: its abstract methods are never called.

    Raises:
        HandlerError: If it has methods that the framework's would hide.
    """
    for name in cls._durable_methods:
        if name in vars(cls):
            raise HandlerError(
                f"{cls.__name__} is durable and has {name} of its own: the framework answers for durable"
                " handlers; remove it, or remove durable"
            )

    async def never(self: object, request: object, context: object) -> None:
        raise NotImplementedError("a durable handler is called by run")

    for name in cls._durable_methods:
        if getattr(getattr(cls, name), "__isabstractmethod__", False):
            setattr(cls, name, never)


def check_run(cls: type) -> None:
    """Check the ``run`` of the durable class *cls*.

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
    try:
        signature_of(run).bind(None, None, None)
    except TypeError:
        raise HandlerError(f"{cls.__name__}.run takes other arguments: {_SHOULD}") from None
