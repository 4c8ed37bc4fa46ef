"""What types are called: in sentences, and as events of a stream."""

from __future__ import annotations

import dataclasses
import re
import types
from typing import Annotated, Any, Final, Union, get_args, get_origin

from typing_extensions import is_typeddict

_WORD: Final = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"


def unwrapped(declared: Any, *, union: bool = False) -> Any:
    """The class behind ``Annotated`` and a generic's arguments; with *union* the members, of one or more."""
    while get_origin(declared) is Annotated:
        declared = get_args(declared)[0]
    if not union:
        return get_origin(declared) or declared
    if get_origin(declared) in (Union, types.UnionType):
        return tuple(member for part in get_args(declared) for member in unwrapped(part, union=True))
    return (declared,)


def is_record(declared: Any) -> bool:
    """Whether *declared* is a class with fields: a dataclass, Struct, TypedDict, of attrs, of pydantic."""
    if not isinstance(declared, type):
        return False
    kind: Any = declared
    return bool(
        dataclasses.is_dataclass(kind)
        or hasattr(kind, "__struct_fields__")
        or hasattr(kind, "__attrs_attrs__")
        or hasattr(kind, "__pydantic_core_schema__")
        or is_typeddict(kind)
    )


def event_name(declared: Any) -> str | None:
    """The event's name for a class with fields: its string tag, or ``text_delta`` for ``TextDelta``."""
    kind = unwrapped(declared)
    if not is_record(kind) or is_typeddict(kind):
        return None
    tag = getattr(getattr(kind, "__struct_config__", None), "tag", None)
    if isinstance(tag, str) and tag.isprintable():
        return tag
    return re.sub(_WORD, "_", kind.__name__.split("[")[0]).lower()


def name_of(declared: Any) -> str:
    """What *declared* is called in a sentence: ``ChatRequest``, ``list[int]``, ``Cat | Dog``."""
    members = unwrapped(declared, union=True)
    if len(members) > 1:
        return " | ".join(map(name_of, members))
    if declared is type(None):
        return "None"
    if isinstance(members[0], type) and get_origin(members[0]) is None:
        return members[0].__qualname__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(members[0]))
