"""Dataclasses, TypedDicts, attrs classes, Structs and plain JSON types, by msgspec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from agentserver._typed.codec import Codec, Leaf, MismatchError, UnsupportedTypeError
from agentserver._typed.names import event_name, name_of, unwrapped
from agentserver._typed.wording import NOT_JSON, NOTHING, TOO_DEEP, UNFIT, msgspec_fault


class MsgspecCodec(Codec):
    """Reads and writes one type that msgspec knows.

    Args:
        declared: The type.

    Raises:
        UnsupportedTypeError: If msgspec cannot decode it.
    """

    def __init__(self, declared: Any) -> None:
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(declared)
        except (TypeError, ValueError, NameError) as error:
            raise UnsupportedTypeError(str(error)) from error
        self._encode = msgspec.json.Encoder(decimal_format="string").encode
        self._declared = declared
        self._classes = classes_of(declared)
        self._event = event_name(declared)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The type itself."""
        return (("msgspec", self._declared),)

    def decode(self, body: bytes | str) -> Any:
        """Make the object of *body*."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise msgspec_fault(str(error)) from None
        except RecursionError:
            raise MismatchError(TOO_DEEP) from None
        except (msgspec.DecodeError, UnicodeError):
            raise MismatchError(NOT_JSON if body else NOTHING) from None

    def encode(self, value: Any) -> bytes:
        """Make JSON of *value*; what goes out is read once more, since msgspec trusts what it writes."""
        if self._classes is not None and not isinstance(value, self._classes):
            raise MismatchError(f"expected {name_of(self._declared)}, got {type(value).__qualname__}")
        try:
            encoded = self._encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise MismatchError(f"{UNFIT} ({error})") from error
        self.decode(encoded)
        return encoded

    def event_of(self, value: Any) -> str | None:
        """The class's name; of a union's member the tag."""
        if self._event is not None:
            return self._event
        return event_name(type(value)) if self._classes is not None else None

    def events(self) -> tuple[tuple[str | None, int], ...]:
        """One for each class."""
        if self._event is not None or self._classes is None:
            return ((self._event, 0),)
        return tuple((event_name(member), 0) for member in self._classes if member is not type(None))

    def schema(self, schemas: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """The type's schema as it is."""
        return next(schemas)


def classes_of(declared: Any) -> tuple[type, ...] | None:
    """The classes whose objects *declared* stands for, if that can be seen by the class of an object."""
    members = [unwrapped(member) for member in unwrapped(declared, union=True)]
    is_class = all((isinstance(m, type) and event_name(m) is not None) or m is type(None) for m in members)
    return tuple(members) if is_class and any(m is not type(None) for m in members) else None


def schemas_of(declared: list[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The schemas of some types, and the components that they refer to."""
    schemas, components = msgspec.json.schema_components(
        declared, schema_hook=_schema_of_anything, ref_template="#/components/schemas/{name}"
    )
    return list(schemas), dict(components)


def _schema_of_anything(declared: type) -> dict[str, Any]:
    if declared is object:
        return {"description": "Any value."}  # msgspec takes an empty schema for none
    raise NotImplementedError
