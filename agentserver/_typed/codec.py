"""What every engine offers for one type: from JSON to objects and back, checked on both ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeAlias


class MismatchError(ValueError):
    """A value is not what was declared.

    Args:
        message: What is wrong, without the value and in our own words: it may go to a client.
        target: Where, as a JSON path: ``$`` is the whole, ``$.items[0].name`` a part.
    """

    def __init__(self, message: str, target: str = "$") -> None:
        super().__init__(message)
        self.message = message
        self.target = target

    def __str__(self) -> str:
        return f"{self.target}: {self.message}"

    def sentence(self, whole: str) -> str:
        """A sentence about the field, or about *whole*."""
        field = self.target.removeprefix("$").removeprefix(".") or whole
        is_verb = self.message.startswith(("is ", "has ", "does "))
        return f"{field} {self.message}" if is_verb else f"{field}: {self.message}"


class UnsupportedTypeError(TypeError):
    """A type has no form in JSON that could be checked. The text says which part, and what to do."""


Leaf: TypeAlias = tuple[str, Any]
"""One type and the engine that deals with it, ``"msgspec"`` or ``"pydantic"``."""


class Codec(ABC):
    """Reads and writes one type."""

    @property
    @abstractmethod
    def leaves(self) -> tuple[Leaf, ...]:
        """The types that it is made of, one for each schema that `schema` joins."""

    @abstractmethod
    def decode(self, body: bytes | str) -> Any:
        """Make the object of *body*, which is JSON.

        Raises:
            MismatchError: If *body* is no JSON, or not what was declared.
        """

    @abstractmethod
    def encode(self, value: Any) -> bytes:
        """Make JSON of *value*, on one line.

        Raises:
            MismatchError: If *value* is not what was declared.
        """

    @abstractmethod
    def event_of(self, value: Any) -> str | None:
        """The name of the event that *value* is sent as; ``None`` for the one without a name."""

    def decode_event(self, name: str | None, data: bytes | str) -> Any:
        """Make the object that the event *name* carries as *data*.

        Raises:
            MismatchError: If *data* is not what that event is to carry.
        """
        return self.decode(data)

    @abstractmethod
    def events(self) -> tuple[tuple[str | None, int], ...]:
        """The names that `event_of` gives, each with the number of its leaf."""

    @abstractmethod
    def schema(self, schemas: Iterator[dict[str, Any]]) -> dict[str, Any]:
        """The schema of the type, of the next of *schemas*: one for each of `leaves`, in their order."""
