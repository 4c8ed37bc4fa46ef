"""Dataclasses, TypedDicts, attrs classes, Structs and plain JSON types, by msgspec."""

from __future__ import annotations

from typing import Any

import msgspec

from agentserver._typed.codec import MismatchError, UnsupportedTypeError
from agentserver._typed.engine_codec import EngineCodec
from agentserver._typed.wording import NOT_JSON, NOTHING, TOO_DEEP, UNFIT, msgspec_fault


class MsgspecCodec(EngineCodec):
    """Reads and writes one type that msgspec knows.

    Args:
        declared: The type.

    Raises:
        UnsupportedTypeError: If msgspec cannot decode it.
    """

    _engine = "msgspec"

    def __init__(self, declared: Any) -> None:
        super().__init__(declared)
        try:
            self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(declared)
        except (TypeError, ValueError, NameError) as error:
            raise UnsupportedTypeError(str(error)) from error
        self._encode = msgspec.json.Encoder(decimal_format="string").encode
        self._check = self._decoder.decode

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
        """Make JSON of *value*, and read it once more: as in the base, with fewer calls for each event."""
        if self._classes is not None and not isinstance(value, self._classes):
            raise self._of_another_class(value)
        try:
            encoded = self._encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise MismatchError(f"{UNFIT} ({error})") from error
        try:
            self._check(encoded)
        except (ValueError, RecursionError):
            self.decode(encoded)  # says what is wrong
        return encoded

    def _dump(self, value: Any) -> bytes:
        return self._encode(value)


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
