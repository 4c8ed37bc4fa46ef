"""The input of a durable handler: from JSON to the type that its ``run`` asks for."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, Final

from agentserver.errors import BadRequestError, HandlerError

Reader = Callable[[Any], Any]
"""Makes the input of a JSON value; raises `BadRequestError` if it cannot."""

_PLAIN: Final[dict[Any, tuple[tuple[type, ...], str]]] = {
    dict: ((dict,), "an object"),
    list: ((list,), "an array"),
    str: ((str,), "a string"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
}


def input_reader(handler: type, annotation: Any) -> Reader:
    """What makes the input of *handler* of the type *annotation*.

    Raises:
        HandlerError: If there is no way from JSON to that type.
    """
    kind = typing.get_origin(annotation) or annotation
    if kind in {Any, object}:
        return lambda value: value
    if kind in _PLAIN:
        return _plain(*_PLAIN[kind])
    if dataclasses.is_dataclass(kind):
        return lambda value: _object(kind, value)
    validate: Any = getattr(kind, "model_validate", None)
    if callable(validate):
        return lambda value: _validated(validate, value)
    raise HandlerError(
        f"{handler.__name__}.run takes a {getattr(kind, '__name__', kind)}, which JSON has no form for: take"
        " a dict, list, str, int, float, bool, a dataclass, or a model with model_validate"
    )


def _plain(kinds: tuple[type, ...], expected: str) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadRequestError(f"The body must be {expected} as JSON")
        return value

    return read


def _object(kind: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        raise BadRequestError("The body must be an object as JSON")
    given = typing.cast("dict[str, Any]", value)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    missing = [
        field.name
        for field in fields
        if field.name not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    unknown = given.keys() - {field.name for field in fields}
    if missing or unknown:
        what = f"has no {missing[0]!r}" if missing else f"has an unknown {min(unknown)!r}"
        raise BadRequestError(f"The body {what}")
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise BadRequestError("The body has a value that cannot be used") from error


def _validated(validate: Callable[[Any], Any], value: Any) -> Any:
    try:
        return validate(value)
    except ValueError as error:
        raise BadRequestError("The body does not have the form that the agent expects") from error
