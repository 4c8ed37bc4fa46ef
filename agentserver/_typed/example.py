"""A valid value for a schema: what its writer gave as an example, else the least that fits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agentserver._typed.codec import Codec, MismatchError
from agentserver._typed.shapes import is_array, is_object

_REFERENCE: Final = "#/components/schemas/"
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT30S",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "decimal": "1.5",
    "email": "ada@example.com",
    "uri": "https://example.com",
}
_ABSENT: Final = object()
_DEEPEST: Final = 30


def examples_of(schema: Mapping[str, Any], components: Mapping[str, Any], codec: Codec) -> list[Any]:
    """Make a value that *codec* reads, as plain JSON, since ``None`` may be one.

    Args:
        schema: Of the value.
        components: What *schema* refers to, by name.
        codec: Has the last word: a pattern, or a check of the class's own, may refuse what fits the schema.

    Returns:
        One value; none if all that was tried does not fit.
    """
    value = _Writer(components).write(schema, 0)
    for _ in range(len(_FORMATS) * 4):
        if value is _ABSENT:
            return []
        try:
            codec.decode(msgspec.json.encode(value))
        except MismatchError as fault:
            if not _mended(value, fault.target):
                return []
        else:
            return [value]
    return []


def _mended(value: Any, target: str) -> bool:
    """Put the next kind of string where one did not fit; whether there was any left."""
    holder: Any = None
    step: Any = None
    here = value
    for name in target.replace("[", ".").replace("]", "").split(".")[1:]:
        holder, step = here, int(name) if name.isdigit() and is_array(here) else name
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            return False
    if holder is None or not isinstance(here, str):
        return False
    kinds = list(_FORMATS.values())
    following = kinds[kinds.index(here) + 1 :] if here in kinds else kinds
    if not following:
        return False
    holder[step] = following[0]
    return True


class _Writer:
    """Writes values for schemas that share their components."""

    def __init__(self, components: Mapping[str, Any]) -> None:
        self._components = components
        self._open: list[str] = []

    def write(self, schema: Mapping[str, Any], depth: int) -> Any:
        """Make a value for *schema*; `_ABSENT` if that would never end."""
        given = _given(schema)
        if given is not _ABSENT or depth > _DEEPEST:
            return given
        if "$ref" in schema:
            return self._of_reference(schema["$ref"].removeprefix(_REFERENCE), depth)
        members = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf", ())[:1]
        if members:
            made = (self.write(member, depth + 1) for member in members)
            return next((value for value in made if value is not _ABSENT), _ABSENT)
        kind: Any = schema.get("type", "object" if "properties" in schema else None)
        if is_array(kind):
            kind = kind[0]
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        return _scalar(kind, schema)

    def _of_reference(self, name: str, depth: int) -> Any:
        if name in self._open or name not in self._components:
            return _ABSENT
        self._open.append(name)
        try:
            return self.write(self._components[name], depth + 1)
        finally:
            self._open.pop()

    def _object(self, schema: Mapping[str, Any], depth: int) -> Any:
        required = schema.get("required", ())
        made: dict[str, Any] = {}
        for name, part in schema.get("properties", {}).items():
            if name not in required and not part.get("examples"):
                continue
            value = self.write(part, depth + 1)
            if value is _ABSENT and name in required:
                return _ABSENT
            if value is not _ABSENT:
                made[name] = value
        more = schema.get("additionalProperties")
        for number in range(schema.get("minProperties", 0) - len(made)):
            made[f"key{number + 1}"] = self.write(more if is_object(more) else {}, depth + 1)
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> Any:
        first = [self.write(part, depth + 1) for part in schema.get("prefixItems", ())]
        items = schema.get("items")
        missing = max(schema.get("minItems", 0) - len(first), 0)
        rest = [self.write(items if is_object(items) else {}, depth + 1) for _ in range(missing)]
        made = first + rest
        if schema.get("uniqueItems") and len(made) > 1 and all(type(value) is int for value in made):
            made = [value + number for number, value in enumerate(made)]
        return _ABSENT if _ABSENT in made else made


def _given(schema: Mapping[str, Any]) -> Any:
    examples = schema.get("examples")
    if is_array(examples) and examples:
        return examples[0]
    for word in ("example", "const"):
        if word in schema:
            return schema[word]
    return schema["enum"][0] if schema.get("enum") else _ABSENT


def _scalar(kind: str | None, schema: Mapping[str, Any]) -> Any:
    if kind in ("integer", "number"):
        return _number(kind, schema)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    if kind is None:
        return {}
    if "contentEncoding" in schema:
        return "aGVsbG8="
    text = _FORMATS.get(schema.get("format", ""), "text")
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    return text if text != "text" else text.ljust(least, "t")[:most]


def _number(kind: str, schema: Mapping[str, Any]) -> float:
    step: float = schema.get("multipleOf") or (1 if kind == "integer" else 0.5)
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    value: float = step
    if least is not None and value <= least:
        value = step * -(-least // step)
        value += step if value == schema.get("exclusiveMinimum") else 0
    if most is not None and value >= most:
        value = step * (most // step)
        value -= step if value == schema.get("exclusiveMaximum") else 0
    return int(value) if kind == "integer" or value == int(value) else value
