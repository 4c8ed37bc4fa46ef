"""Which types a handler names: as parameters of its base class, or in the annotations of a method."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from typing import Any, Final, ForwardRef, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from agentserver._typed.names import name_of, unwrapped
from agentserver.errors import HandlerError

_STREAMS: Final = (AsyncIterator, AsyncGenerator, AsyncIterable)

UNSAID: Final = object()
"""In place of a type that a class does not name."""


class Parameters(NamedTuple):
    """What a handler takes and gives; `UNSAID` where it does not say."""

    taken: Any
    given: Any


def arguments_of(handler: type, base: type) -> tuple[Any, ...] | None:
    """The types that stand for *base*'s parameters in *handler*; ``None`` if it names none."""
    for parent in vars(handler).get("__orig_bases__", handler.__bases__):
        origin = get_origin(parent) or parent
        if not isinstance(origin, type) or not issubclass(origin, base):
            continue
        if origin is base:
            return tuple(_evaluated(handler, each) for each in get_args(parent)) or None
        found = arguments_of(origin, base)
        if found is not None:
            own = dict(zip(getattr(origin, "__parameters__", ()), get_args(parent), strict=False))
            return tuple(_filled(handler, each, own) for each in found)
    return None


def parameters_of(
    handler: type, base: type, method: str, argument: str, always: tuple[type, ...] = ()
) -> Parameters:
    """What *handler* takes and gives.

    Args:
        handler: The handler's class.
        base: The generic class that it derives from.
        method: The name of the method that takes and gives it.
        argument: The name, in *base*, of the argument that is taken.
        always: What the method may give beside the types it says.

    Raises:
        HandlerError: If the class and the method disagree, or neither can be understood.
    """
    named = arguments_of(handler, base) or ()
    taken, given = annotations_of(handler, getattr(handler, method), strict=not named)
    if not named and (taken is UNSAID or given is UNSAID):
        missing = f"the argument {argument}" if taken is UNSAID else "what it gives"
        raise HandlerError(
            f"{handler.__name__}.{method} does not say the type of {missing}: annotate it,"
            f" or derive the class from {base.__name__}[…, …]"
        )
    if not named:
        return Parameters(taken, given)
    said = Parameters(named[0], named[1] if len(named) > 1 else Any)
    for of_class, annotated, agree in (
        (said.taken, taken, _is_part(said.taken, taken)),
        (said.given, given, _is_part(without(given, always), said.given)),
    ):
        if isinstance(of_class, TypeVar):
            raise HandlerError(
                f"{handler.__name__} leaves {of_class.__name__} open: serve a class that derives from"
                f" {handler.__name__}[…]"
            )
        if not agree:
            raise HandlerError(
                f"{handler.__name__} says {name_of(of_class)} in its base class and {name_of(annotated)} in"
                f" {method}: write the same type in both"
            )
    return said


def _is_part(part: Any, whole: Any) -> bool:
    """Whether all that *part* may be *whole* may be too, as far as can be seen."""
    if UNSAID in (part, whole) or Any in (part, whole):
        return True
    members = unwrapped(whole, union=True)
    classes = tuple(member for member in members if isinstance(member, type) and not get_args(member))
    return any(isinstance(member, TypeVar) for member in members) or all(
        member in members or isinstance(member, TypeVar) or _is_subclass(member, classes)
        for member in unwrapped(part, union=True)
    )


def _is_subclass(member: Any, classes: tuple[type, ...]) -> bool:
    return isinstance(member, type) and any(kind in member.__mro__ for kind in classes)


def annotations_of(handler: type, method: Callable[..., Any], *, strict: bool) -> Parameters:
    """The types that *method* of *handler* takes first and gives, as it is annotated.

    Raises:
        HandlerError: If *strict*, and a name cannot be found.
    """
    try:
        hints = get_type_hints(method, include_extras=True)
    except NameError as error:
        if not strict:
            return Parameters(UNSAID, UNSAID)
        name = getattr(error, "name", None) or str(error).split("'")[1]
        raise HandlerError(
            f"{handler.__name__}.{method.__name__} names {name} in an annotation, which cannot be found when"
            " the server starts: import it outside TYPE_CHECKING and define it at the top of a module"
        ) from error
    first = list(inspect.unwrap(method).__code__.co_varnames)[1:2]
    given = hints.get("return", UNSAID)
    if get_origin(given) in _STREAMS:
        given = get_args(given)[0]
    return Parameters(hints.get(first[0], UNSAID) if first else UNSAID, given)


def _evaluated(handler: type, declared: Any) -> Any:
    if not isinstance(declared, (str, ForwardRef)):
        return declared
    text = declared if isinstance(declared, str) else declared.__forward_arg__
    names = vars(sys.modules[handler.__module__])
    try:
        return get_type_hints(
            types.SimpleNamespace(__annotations__={"it": text}), names, include_extras=True
        )["it"]
    except NameError as error:
        name = getattr(error, "name", None) or text
        raise HandlerError(
            f"{handler.__name__} names {name} as a string in its base class, which cannot be found when the"
            " server starts: write the class itself, outside TYPE_CHECKING"
        ) from error


def _filled(handler: type, declared: Any, own: Mapping[Any, Any]) -> Any:
    """*declared* with the types that *handler* gives for the parameters of a class in between."""
    if isinstance(declared, TypeVar):
        return _evaluated(handler, own.get(declared, declared))
    parameters = getattr(declared, "__parameters__", ())
    if not parameters:
        return declared
    return declared[tuple(own.get(each, each) for each in parameters)]


def without(declared: Any, others: tuple[type, ...]) -> Any:
    """*declared*, a union perhaps, without what derives from *others*; `UNSAID` if nothing is left."""
    members = unwrapped(declared, union=True)
    if declared is Any:
        return UNSAID
    rest = [m for m in members if not (isinstance(unwrapped(m), type) and issubclass(unwrapped(m), others))]
    if len(rest) == len(members):
        return declared
    return Union[tuple(rest)] if rest else UNSAID  # noqa: UP007 - of members known at run time
