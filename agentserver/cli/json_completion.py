"""What may stand at the end of JSON that is being typed, as a schema says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from agentserver._typed.shapes import is_array
from agentserver.cli.json_schema import Schema

__all__ = ["complete_json"]

_PIECE: Final = re.compile(r'\s+|"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+|".*', re.DOTALL)
_SCALARS: Final = {"boolean": ["true", "false"], "null": ["null"], "object": ["{"], "array": ["["]}


@dataclass
class _Level:
    """An object or an array that is open.

    Args:
        schema: Its own.
        is_object: Which it is.
        fields: The fields that are complete, or the number of items under ``""``.
        key: The field that is being written.
        awaits: ``"key"``, ``"colon"``, ``"value"`` or ``"comma"``.
    """

    schema: Schema
    is_object: bool
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    key: str | None = None
    awaits: str = "value"

    def inner(self) -> Schema:
        """The schema of the value that is being written."""
        found = [part for branch in self.branches() if (part := self._part(branch)) is not None]
        return self.schema.part({"anyOf": found} if len(found) > 1 else found[0] if found else {})

    def _part(self, branch: Schema) -> Any:
        if self.is_object:
            return branch.properties().get(self.key or "", branch.own.get("additionalProperties"))
        number: int = self.fields.get("", 0)
        first = branch.own.get("prefixItems", ())
        return first[number] if number < len(first) else branch.own.get("items")

    def branches(self) -> Iterator[Schema]:
        """What it may still become."""
        kind = "object" if self.is_object else "array"
        for branch in self.schema.branches():
            fits = not branch.kinds() or kind in branch.kinds()
            if fits and (not self.is_object or branch.fits_tags(self.fields)):
                yield branch

    def done(self, value: Any) -> None:
        """Take a value that is complete."""
        if self.is_object:
            self.fields[self.key or ""] = value
        else:
            self.fields[""] = self.fields.get("", 0) + 1
        self.awaits = "comma"


def complete_json(text: str, schema: Schema) -> tuple[int, list[str]]:
    """What may stand in place of the end of *text*, and how many characters of that end it replaces."""
    levels: list[_Level] = []
    partial = ""
    for piece in _PIECE.findall(text):
        if piece.isspace():
            continue
        if not _take(piece, levels, schema):
            partial = piece
            break
        if not levels:
            return 0, []  # it is complete
    return len(partial), [each for each in _offers(levels, schema) if each.startswith(partial)]


def _take(piece: str, levels: list[_Level], schema: Schema) -> bool:
    """Go on by *piece*; whether it is complete."""
    here = levels[-1] if levels else None
    if piece in "{[":
        inner = here.inner() if here else schema
        levels.append(_Level(inner, piece == "{", awaits="key" if piece == "{" else "value"))
        return True
    if piece in "}]":
        if levels:
            levels.pop()
        if levels:
            levels[-1].done(None)
        return True
    if here is None:
        return False
    if piece in ",:":
        here.awaits = "value" if piece == ":" or not here.is_object else "key"
        return True
    try:
        value = json.loads(piece)
    except ValueError:
        return False
    if here.awaits == "key":
        here.key, here.awaits = str(value), "colon"
    else:
        here.done(value)
    return True


def _offers(levels: list[_Level], schema: Schema) -> list[str]:
    if not levels:
        return _values(schema)
    here = levels[-1]
    if here.awaits == "key":
        return [f"{json.dumps(name)}: " for name in _missing(here)] + ([] if _required(here) else ["}"])
    if here.awaits == "colon":
        return [": "]
    if here.awaits == "value":
        return _values(here.inner())
    if not here.is_object:
        return [", ", "]"]
    more = [", "] if _missing(here) else []
    return more if _required(here) else [*more, "}"]


def _missing(level: _Level) -> list[str]:
    names = [name for branch in level.branches() for name in branch.properties() if name not in level.fields]
    return list(dict.fromkeys(names))


def _required(level: _Level) -> bool:
    """Whether a field must still come."""
    branches = list(level.branches())
    missing = [set(branch.own.get("required", ())) - level.fields.keys() for branch in branches]
    return bool(branches) and all(missing)


def _values(schema: Schema) -> list[str]:
    found: list[str] = []
    for branch in [schema, schema.resolved(), *schema.branches()]:
        examples = branch.own.get("examples", ())
        fixed = branch.fixed()
        if fixed is not None:
            found += [_text(each) for each in fixed]
        elif is_array(examples) and examples:
            found += [_text(each) for each in examples]
        else:
            found += [each for kind in branch.kinds() for each in _SCALARS.get(kind, [])]
        if "default" in branch.own and fixed is None:
            found.append(_text(branch.own["default"]))
    return list(dict.fromkeys(found))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
