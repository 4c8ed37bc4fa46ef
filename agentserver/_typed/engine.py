"""Which engine reads a type, and a sentence for a type that none can read."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect as shapes

from agentserver._typed.codec import Codec, UnsupportedTypeError
from agentserver._typed.msgspec_codec import MsgspecCodec
from agentserver._typed.names import is_record, name_of, unwrapped


def codec_for(declared: Any, *, by_class: bool = False) -> Codec:
    """Make what reads and writes *declared*.

    Args:
        declared: A dataclass, TypedDict, attrs class, Struct, pydantic model, plain JSON type, or a union.
        by_class: Whether members of a union at the top may be told apart by the name of their event.

    Raises:
        UnsupportedTypeError: If nothing could; the text says which part, and what to do.
    """
    members = [m for m in unwrapped(declared, union=True) if m is not type(None)]
    records = [member for member in members if is_record(unwrapped(member))]
    of_pydantic = [_is_pydantics(member) for member in members]
    if all(of_pydantic) or (len(members) == 1 and any(of_pydantic)):
        return _by_pydantic(declared)
    if len(records) > 1 and (any(of_pydantic) or not _tells_apart(declared)):
        from agentserver._typed.unions import UnionCodec  # the others do not pay for it

        parts = unwrapped(declared, union=True)
        return UnionCodec({member: codec_for(member) for member in parts}, by_class=by_class)
    if any(of_pydantic):
        return _by_pydantic(declared)
    _refuse_unknown(declared)
    try:
        return MsgspecCodec(declared)
    except UnsupportedTypeError as error:
        raise UnsupportedTypeError(_culprit(declared) or _sentence(declared)) from error


def _by_pydantic(declared: Any) -> Codec:
    for _, kind in _parts(declared, "", set()):
        if hasattr(kind, "__struct_fields__") or hasattr(kind, "__attrs_attrs__"):
            raise UnsupportedTypeError(
                f"{name_of(kind)} cannot have a pydantic model inside: make it a dataclass or a model too"
            )
    from agentserver._typed.pydantic_codec import PydanticCodec

    return PydanticCodec(declared)


def _tells_apart(declared: Any) -> bool:
    try:
        msgspec.json.Decoder(declared)
    except (TypeError, ValueError, NameError):
        return False
    return True


def _is_pydantics(declared: Any) -> bool:
    """Whether *declared* is pydantic's, or has a class of pydantic's inside."""
    return any(hasattr(kind, "__pydantic_core_schema__") for _, kind in _parts(declared, "", set()))


def _refuse_unknown(declared: Any) -> None:
    """Raise for a type that msgspec would only learn of at the first request."""
    for place, kind in _parts(declared, "", set()):
        if isinstance(kind, type) and kind is not object and _is_custom(kind):
            raise UnsupportedTypeError(
                f"{f'{place} is a {name_of(kind)}, which' if place else 'it'} has no form in JSON:"
                " use a dataclass, a TypedDict, a Struct, an attrs class, a pydantic model or a JSON type"
            )


def _is_custom(kind: type) -> bool:
    try:
        return isinstance(shapes.type_info(kind), shapes.CustomType)
    except (TypeError, NameError):
        return False


def _parts(declared: Any, place: str, seen: set[Any]) -> Iterator[tuple[str, Any]]:
    """Every class that *declared* is made of, each with the field it stands in."""
    kind = unwrapped(declared)
    arguments = get_args(declared)
    if get_origin(declared) is Annotated:
        arguments = arguments[:1]
        kind = None
    elif get_origin(declared) in (Union, types.UnionType):
        kind = None
    elif any(not isinstance(argument, type) and not get_args(argument) for argument in arguments):
        arguments = tuple(a for a in arguments if isinstance(a, type) or get_args(a))  # those of a Literal
    if kind is not None:
        if kind in seen:
            kind = None
        else:
            seen.add(kind)
            yield place, kind
    for argument in arguments:
        yield from _parts(argument, place, seen)
    if kind is not None and is_record(kind) and not hasattr(kind, "__pydantic_core_schema__"):
        for name, hint in _fields_of(kind).items():
            yield from _parts(hint, f"its field {kind.__name__}.{name}", seen)


def _fields_of(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError as error:
        raise UnsupportedTypeError(
            f"{kind.__name__} names {_missing_name(error)} in an annotation, which cannot be found when the"
            " server starts: import it outside TYPE_CHECKING and define it at the top of a module"
        ) from error


def _missing_name(error: NameError) -> str:
    return str(getattr(error, "name", None) or str(error).split("'")[1])


def _culprit(declared: Any) -> str | None:
    """The innermost field that keeps *declared* from being read."""
    for member in unwrapped(declared, union=True):
        for part in get_args(member):
            if not is_record(unwrapped(member)) and (found := _culprit(part)):
                return found
        kind = unwrapped(member)
        if not is_record(kind):
            continue
        for name, hint in _fields_of(kind).items():
            if not _tells_apart(hint):
                inner = None if hint == declared else _culprit(hint)
                return inner or f"its field {kind.__name__}.{name}: {_sentence(hint)}"
    return None


def _sentence(declared: Any) -> str:
    members = unwrapped(declared, union=True)
    records = [member for member in members if is_record(unwrapped(member))]
    if len(records) > 1:
        first, second = map(name_of, records[:2])
        return (
            f"nothing tells {first} and {second} apart:"
            " derive both from msgspec.Struct with tag=True, or make both pydantic models"
        )
    if len(members) > 1:
        return f"{name_of(declared)} cannot be told apart in JSON: put each into a class of its own"
    return f"{name_of(declared)} has no form in JSON that can be checked: use another type"
