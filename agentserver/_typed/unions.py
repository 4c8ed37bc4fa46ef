"""A union whose members no engine tells apart: by a ``Literal`` field they share, or, as events, by class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from agentserver._typed.codec import Codec, Leaf, MismatchError, UnsupportedTypeError
from agentserver._typed.names import event_name, is_record, name_of, unwrapped
from agentserver._typed.shapes import is_key, is_object
from agentserver._typed.wording import MISSING, NOT_ALLOWED, NOT_JSON, NOTHING, TOO_DEEP, expected

_REMEDY = (
    "give each a field of the same name whose type is a Literal of its own, such as kind: Literal['{}'],"
    " or derive both from msgspec.Struct with tag=True"
)


class UnionCodec(Codec):
    """Reads and writes a union of classes with fields.

    Args:
        members: The codec of each class.
        by_class: Whether the name of an event is enough to tell them apart; such a union cannot be read.

    Raises:
        UnsupportedTypeError: If nothing tells the members apart.
    """

    def __init__(self, members: Mapping[Any, Codec], *, by_class: bool = False) -> None:
        kinds = {member: unwrapped(member) for member in members}
        strange = next((member for member, kind in kinds.items() if not is_record(kind)), None)
        if strange is not None:
            raise UnsupportedTypeError(
                f"{name_of(strange)} stands in a union with classes that only a field tells apart:"
                " put it into a class of its own"
            )
        self._members = members
        self._by_class = {
            kind: codec for (_, kind), codec in zip(kinds.items(), members.values(), strict=True)
        }
        self._tag, self._by_tag = _tags(members)
        if self._tag is None and not (by_class and all(event_name(member) for member in members)):
            first, second = list(members)[:2]
            raise UnsupportedTypeError(
                f"nothing tells {name_of(first)} and {name_of(second)} apart:"
                f" {_REMEDY.format(kinds[first].__name__.lower())}"
            )
        self._fields = msgspec.json.Decoder(dict[str, msgspec.Raw])

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Those of the members."""
        return tuple(leaf for codec in self._members.values() for leaf in codec.leaves)

    def decode(self, body: bytes | str) -> Any:
        """Make the object of *body*, of the class that its tag names."""
        return self._reader(body).decode(body)

    def _reader(self, body: bytes | str) -> Codec:
        try:
            fields = self._fields.decode(body)
        except msgspec.ValidationError:
            raise MismatchError(expected("object")) from None
        except RecursionError:
            raise MismatchError(TOO_DEEP) from None
        except (msgspec.DecodeError, UnicodeError):
            raise MismatchError(NOT_JSON if body else NOTHING) from None
        if self._tag not in fields:
            raise MismatchError(MISSING, f"$.{self._tag}")
        tag = msgspec.json.decode(fields[self._tag])
        codec = self._by_tag.get((type(tag), tag)) if is_key(tag) else None
        if codec is None:
            raise MismatchError(NOT_ALLOWED, f"$.{self._tag}")
        return codec

    def encode(self, value: Any) -> bytes:
        """Make JSON of *value*, which is of one of the classes, or a dictionary with a tag."""
        return self._writer(value).encode(value)

    def _writer(self, value: Any) -> Codec:
        tag = value.get(self._tag or "") if is_object(value) else None
        found = self._by_tag.get((type(tag), tag)) if is_key(tag) else None
        for kind in type(value).__mro__:
            found = found or self._by_class.get(kind)
        if found is None or (is_object(value) and self._tag is None):
            names = " | ".join(map(name_of, self._members))
            raise MismatchError(f"expected {names}, got {type(value).__qualname__}")
        return found

    def event_of(self, value: Any) -> str | None:
        """The tag, or the class's name."""
        tag = value.get(self._tag or "") if is_object(value) else None
        return tag if isinstance(tag, str) else self._writer(value).event_of(value)

    def decode_event(self, name: str | None, data: bytes | str) -> Any:
        """Make the object of *data*, of the class that its tag names, else the event."""
        if self._tag is not None:
            return self.decode(data)
        for member, codec in self._members.items():
            if event_name(member) == name:
                return codec.decode(data)
        raise MismatchError("is in an event of another name than its classes have")

    def events(self) -> tuple[tuple[str | None, int], ...]:
        """One for each member."""
        names: list[tuple[str | None, int]] = []
        for number, (member, codec) in enumerate(self._members.items()):
            tags = [tag for (_, tag), reader in self._by_tag.items() if reader is codec]
            typed = event_name(member)
            names += [(typed, number)] if typed else [(str(tag), number) for tag in tags]
        return tuple(names)

    def schema(self, schemas: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """Any of the members' schemas."""
        return {"anyOf": [codec.schema(schemas) for codec in self._members.values()]}


def _tags(members: Mapping[Any, Codec]) -> tuple[str | None, dict[tuple[type, Any], Codec]]:
    """The field that tells *members* apart, and what its values mean."""
    literals = [_literals(unwrapped(member)) for member in members]
    for name in literals[0]:
        if not all(name in each for each in literals):
            continue
        table: dict[tuple[type, Any], Codec] = {
            (type(value), value): codec
            for each, codec in zip(literals, members.values(), strict=True)
            for value in each[name]
        }
        if len(table) == sum(len(each[name]) for each in literals):
            return name, table
    return None, {}


def _literals(kind: type) -> dict[str, tuple[Any, ...]]:
    """The fields of *kind* that must be one of some values, by their names in JSON."""
    found: dict[str, tuple[Any, ...]] = {}
    config = getattr(kind, "__struct_config__", None)
    if config is not None and config.tag is not None:
        found[config.tag_field] = (config.tag,)
    names: dict[str, str] = dict(
        zip(
            getattr(kind, "__struct_fields__", ()), getattr(kind, "__struct_encode_fields__", ()), strict=True
        )
    )
    models: Mapping[str, Any] = getattr(kind, "__pydantic_fields__", {})
    for name, declared in get_type_hints(kind).items():
        values = get_args(declared) if get_origin(declared) is Literal else ()
        if values:
            alias = getattr(models.get(name), "alias", None)
            found[names.get(name) or alias or name] = values
    return found
