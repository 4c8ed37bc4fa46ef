"""JSON Schema as the documents of agents have it: what is wrong with a value, and where it branches.

What a schema says beyond that is not looked at: the agent has the last word, and what is refused here must be
refused there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from agentserver._typed.codec import MismatchError
from agentserver._typed.shapes import is_array, is_object
from agentserver._typed.wording import MISSING, NOT_ALLOWED, UNFIT, UNKNOWN, expected, kind_of, of_length

__all__ = ["Schema", "fault_of"]

_DEEPEST: Final = 40
_WORDS: Final[Mapping[str, str]] = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "null",
    "object": "object",
    "array": "array",
}
_BOUNDS: Final[tuple[tuple[str, str], ...]] = (
    ("minimum", ">="),
    ("exclusiveMinimum", ">"),
    ("maximum", "<="),
    ("exclusiveMaximum", "<"),
)
_LENGTHS: Final[tuple[tuple[str, str, str], ...]] = (
    ("Length", "string", "str"),
    ("Items", "array", "array"),
    ("Properties", "object", "object"),
)


class Schema(NamedTuple):
    """A schema and the document that its references point into."""

    own: Mapping[str, Any]
    document: Mapping[str, Any]

    def part(self, own: Any) -> Schema:
        """The schema *own* of the same document; one that is no object allows anything."""
        return Schema(own if is_object(own) else {}, self.document)

    def resolved(self) -> Schema:
        """The schema that this one refers to, or itself."""
        found: Any = self
        for _ in range(_DEEPEST):
            reference = found.own.get("$ref")
            if not isinstance(reference, str):
                return self.part(found.own)
            here: Any = self.document
            for step in reference.removeprefix("#/").split("/"):
                here = here.get(step.replace("~1", "/").replace("~0", "~")) if is_object(here) else None
            found = self.part(here)
        return self.part({})

    def branches(self, depth: int = 0) -> Iterator[Schema]:
        """All that a value may be: the members of unions, and what they refer to."""
        found = self.resolved()
        members: Any = found.own.get("anyOf") or found.own.get("oneOf")
        if not is_array(members) or depth > _DEEPEST:
            yield found
            return
        for member in members:
            yield from self.part(member).branches(depth + 1)

    def kinds(self) -> list[str]:
        """The types that a value of this branch may have; none if it does not say."""
        kind = self.own.get("type")
        return [str(each) for each in kind] if is_array(kind) else [kind] if isinstance(kind, str) else []

    def fixed(self) -> list[Any] | None:
        """The values that it may have, if those are given."""
        if "const" in self.own:
            return [self.own["const"]]
        values = self.own.get("enum")
        return list(values) if is_array(values) else None

    def properties(self) -> Mapping[str, Any]:
        """The fields of an object."""
        found = self.own.get("properties")
        return found if is_object(found) else {}

    def fits_tags(self, fields: Mapping[str, Any]) -> bool:
        """Whether *fields*, as far as they are given, may be those of this branch."""
        for name, part in self.properties().items():
            fixed = self.part(part).resolved().fixed()
            if fixed is not None and name in fields and fields[name] not in fixed:
                return False
        return True


def fault_of(value: Any, schema: Schema, target: str = "$") -> MismatchError | None:
    """What is wrong with *value*, the first that is found; ``None`` if nothing can be seen."""
    branches = list(schema.branches())
    if len(branches) == 1:
        return _fault(value, branches[0], target)
    faults = [_fault(value, branch, target) for branch in branches]
    if any(fault is None for fault in faults):
        return None
    if is_object(value):
        for branch, fault in zip(branches, faults, strict=True):
            if branch.properties() and branch.fits_tags(value):
                return fault
        tags = [name for name in branches[0].properties() if all(_is_tag(name, each) for each in branches)]
        if tags:
            return MismatchError(NOT_ALLOWED if tags[0] in value else MISSING, f"{target}.{tags[0]}")
    deeper = [fault for fault in faults if fault is not None and fault.target != target]
    if deeper:
        return deeper[0]
    kinds = [_WORDS[kind] for branch in branches for kind in branch.kinds() if kind in _WORDS]
    return MismatchError(
        expected(" | ".join(dict.fromkeys(kinds)), kind_of(value)) if kinds else UNFIT, target
    )


def _is_tag(name: str, branch: Schema) -> bool:
    return branch.part(branch.properties().get(name)).resolved().fixed() is not None


def _fault(value: Any, schema: Schema, target: str) -> MismatchError | None:
    kinds = schema.kinds()
    if kinds and not any(_is_of(value, kind) for kind in kinds):
        names = " | ".join(_WORDS.get(kind, kind) for kind in kinds)
        return MismatchError(expected(names, kind_of(value)), target)
    fixed = schema.fixed()
    if fixed is not None and not any(value == each for each in fixed):
        return MismatchError(NOT_ALLOWED, target)
    for part in schema.own.get("allOf", ()):
        fault = fault_of(value, schema.part(part), target)
        if fault is not None:
            return fault
    return _length_fault(value, schema.own, target) or _inner_fault(value, schema, target)


def _is_of(value: Any, kind: str) -> bool:
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "integer":
        is_whole = isinstance(value, float) and value.is_integer()
        return is_whole or (isinstance(value, int) and not isinstance(value, bool))
    types: Mapping[str, type] = {"string": str, "boolean": bool, "object": dict, "array": list}
    return value is None if kind == "null" else isinstance(value, types.get(kind, object))


def _length_fault(value: Any, own: Mapping[str, Any], target: str) -> MismatchError | None:
    for word, kind, name in _LENGTHS:
        least, most = own.get(f"min{word}"), own.get(f"max{word}")
        if _is_of(value, kind) and least is not None and len(value) < least:
            return MismatchError(of_length(name, ">=", str(least)), target)
        if _is_of(value, kind) and most is not None and len(value) > most:
            return MismatchError(of_length(name, "<=", str(most)), target)
    if _is_of(value, "number"):
        name = "int" if own.get("type") == "integer" else "float"
        for word, sign in _BOUNDS:
            bound = own.get(word)
            holds = {">=": float.__ge__, ">": float.__gt__, "<=": float.__le__, "<": float.__lt__}[sign]
            if isinstance(bound, (int, float)) and not holds(float(value), float(bound)):
                return MismatchError(f"{expected(name)} {sign} {bound}", target)
    if isinstance(value, str) and isinstance(own.get("pattern"), str) and not _matches(own["pattern"], value):
        return MismatchError(f"expected a string that matches {own['pattern']!r}", target)
    return None


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except (re.error, RecursionError):
        return True  # in words that Python has not


def _inner_fault(value: Any, schema: Schema, target: str) -> MismatchError | None:
    if is_object(value):
        return _object_fault(value, schema, target)
    if not is_array(value):
        return None
    first = schema.own.get("prefixItems", ())
    for number, item in enumerate(value):
        part = first[number] if number < len(first) else schema.own.get("items", {})
        fault = fault_of(item, schema.part(part), f"{target}[{number}]")
        if fault is not None:
            return fault
    return None


def _object_fault(value: dict[str, Any], schema: Schema, target: str) -> MismatchError | None:
    properties = schema.properties()
    for name in schema.own.get("required", ()):
        if name not in value:
            return MismatchError(MISSING, f"{target}.{name}")
    more = schema.own.get("additionalProperties", {})
    for name, item in value.items():
        if name not in properties and more is False:
            return MismatchError(UNKNOWN, target)
        fault = fault_of(item, schema.part(properties.get(name, more)), f"{target}.{name}")
        if fault is not None:
            return fault
    return None
