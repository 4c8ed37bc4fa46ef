"""pydantic's models, and dataclasses that have some inside. Loaded only after a user brought pydantic.

JSON is read strictly, so that what is accepted is what the document says: ``"5"`` is no number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import JsonSchemaMode
from pydantic_core import PydanticSerializationError

from agentserver._typed.codec import MismatchError, UnsupportedTypeError
from agentserver._typed.engine_codec import EngineCodec
from agentserver._typed.shapes import is_array, is_object
from agentserver._typed.wording import (
    FORMATS,
    KINDS,
    MISSING,
    NOT_ALLOWED,
    NOT_JSON,
    NOTHING,
    UNFIT,
    UNKNOWN,
    expected,
    kind_of,
    of_length,
)

_TYPES: Final[Mapping[str, str]] = {
    "string": "str",
    "int": "int",
    "float": "float",
    "bool": "bool",
    "none": "null",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "frozen_set": "array",
    "dict": "object",
    "model": "object",
    "model_attributes": "object",
    "dataclass": "object",
    "typed_dict": "object",
    "bytes": "bytes",
}
_FORMS: Final[Mapping[str, str]] = {
    "datetime": "datetime",
    "date": "date",
    "time": "time",
    "timedelta": "duration",
    "time_delta": "duration",
    "uuid": "UUID",
    "decimal": "decimal",
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than_equal": (">=", "ge"),
    "greater_than": (">", "gt"),
    "less_than_equal": ("<=", "le"),
    "less_than": ("<", "lt"),
}
_LENGTHS: Final[Mapping[str, tuple[str, str, str]]] = {
    "string_too_short": ("str", ">=", "min_length"),
    "string_too_long": ("str", "<=", "max_length"),
    "bytes_too_short": ("bytes", ">=", "min_length"),
    "bytes_too_long": ("bytes", "<=", "max_length"),
    "too_short": ("array", ">=", "min_length"),
    "too_long": ("array", "<=", "max_length"),
}
_FIXED: Final[Mapping[str, str]] = {
    "missing": MISSING,
    "union_tag_not_found": MISSING,
    "extra_forbidden": UNKNOWN,
    "union_tag_invalid": NOT_ALLOWED,
    "json_invalid": NOT_JSON,
    "int_from_float": expected("int", "float"),
    "finite_number": "expected a finite number",
    "timezone_aware": "expected a time with a time zone",
    "timezone_naive": "expected a time with no time zone",
}


class PydanticCodec(EngineCodec):
    """Reads and writes one type by pydantic.

    Args:
        declared: The type.

    Raises:
        UnsupportedTypeError: If pydantic has no schema for it.
    """

    _engine = "pydantic"

    def __init__(self, declared: Any) -> None:
        super().__init__(declared)
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(declared)
        except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, PydanticUserError) as error:
            raise UnsupportedTypeError(str(error).splitlines()[0]) from error

    def decode(self, body: bytes | str) -> Any:
        """Make the object of *body*."""
        if not body:
            raise MismatchError(NOTHING)
        try:
            return self._adapter.validate_json(body, strict=True)
        except ValidationError as error:
            raise _fault(error, body) from None

    def _dump(self, value: Any) -> bytes:
        try:
            return self._adapter.dump_json(value, by_alias=True, warnings="error")
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise MismatchError(f"{UNFIT} ({str(error).splitlines()[-1].strip()})") from error


def schemas_of(declared: list[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The schemas of some types, and the components that they refer to."""
    mode: JsonSchemaMode = "validation"
    inputs: list[tuple[int, JsonSchemaMode, TypeAdapter[Any]]] = [
        (number, mode, TypeAdapter(each)) for number, each in enumerate(declared)
    ]
    made, rest = TypeAdapter.json_schemas(inputs, ref_template="#/components/schemas/{model}")
    components: dict[str, Any] = rest.get("$defs", {})
    return [made[(number, mode)] for number in range(len(declared))], components


def _fault(error: ValidationError, body: bytes | str) -> MismatchError:
    first = error.errors(include_url=False, include_input=False)[0]
    kind = first["type"]
    if kind == "json_invalid":
        return MismatchError(NOT_JSON)
    context: Mapping[str, Any] = first.get("ctx") or {}
    target, value = _walk(first["loc"], json.loads(body))
    if kind == "union_tag_not_found":
        target += "." + str(context.get("discriminator", "")).strip("'").split("'")[0]
    if kind == "extra_forbidden":
        target = target.rpartition(".")[0] or "$"
    return MismatchError(_wording(kind, context, value), target)


def _wording(kind: str, context: Mapping[str, Any], value: Any) -> str:
    if kind in ("literal_error", "enum"):
        wanted = "str" if "'" in context["expected"] else "int"
        fits = kind_of(value) == KINDS[wanted]
        return NOT_ALLOWED if fits else f"{expected(wanted)}, got {kind_of(value)}"
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _BOUNDS:
        operator, name = _BOUNDS[kind]
        return f"{expected('int' if isinstance(value, int) else 'float')} {operator} {context[name]}"
    if kind in _LENGTHS:
        what, operator, name = _LENGTHS[kind]
        return of_length(what, operator, str(context[name]))
    return _of_form(kind, context, value)


def _of_form(kind: str, context: Mapping[str, Any], value: Any) -> str:
    if kind == "multiple_of":
        number = "int" if isinstance(value, int) else "float"
        return f"{expected(number)} that is a multiple of {context['multiple_of']}"
    if kind == "string_pattern_mismatch":
        return f"expected a string that matches {context['pattern']!r}"
    named = _TYPES.get(kind.removesuffix("_type"))
    if named is not None:
        return f"{expected(named)}, got {kind_of(value)}"
    form = next((_FORMS[name] for name in _FORMS if kind.startswith(name + "_")), None)
    if form is None:
        return UNFIT
    return (
        f"expected {FORMATS[form]}" if isinstance(value, str) else f"{expected('str')}, got {kind_of(value)}"
    )


_PLAIN: Final[Callable[[str], re.Match[str] | None]] = re.compile(r"[^\W\d][\w-]{0,63}").fullmatch


def _walk(steps: tuple[int | str, ...], value: Any) -> tuple[str, Any]:
    """The JSON path of pydantic's *steps* into *value*, without those that name a union's member."""
    target = "$"
    for number, step in enumerate(steps):
        if isinstance(step, int) and is_array(value) and step < len(value):
            target, value = f"{target}[{step}]", value[step]
        elif isinstance(step, str) and is_object(value):
            is_last = number == len(steps) - 1
            if step in value or is_last:
                target += f".{step}" if _PLAIN(step) else "[...]"
                value = value.get(step)
    return target, value
