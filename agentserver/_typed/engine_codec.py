"""What the codecs of both engines have in common: which class an object must be of, and what its event is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from agentserver._typed.codec import Codec, Leaf, MismatchError
from agentserver._typed.names import event_name, name_of, unwrapped


class EngineCodec(Codec):
    """Reads and writes one type by one engine.

    Args:
        declared: The type.
    """

    _engine: ClassVar[str]

    def __init__(self, declared: Any) -> None:
        self._declared = declared
        self._classes = _classes_of(declared)
        self._event = event_name(declared)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The type itself."""
        return ((self._engine, self._declared),)

    def encode(self, value: Any) -> bytes:
        """Make JSON of *value*; what goes out is read once more, since engines trust an object."""
        if self._classes is not None and not isinstance(value, self._classes):
            raise self._of_another_class(value)
        encoded = self._dump(value)
        self.decode(encoded)
        return encoded

    def _of_another_class(self, value: Any) -> MismatchError:
        return MismatchError(f"expected {name_of(self._declared)}, got {type(value).__qualname__}")

    @abstractmethod
    def _dump(self, value: Any) -> bytes:
        """Make JSON of *value*, unchecked.

        Raises:
            MismatchError: If there is none.
        """

    def event_of(self, value: Any) -> str | None:
        """The class's name; of a union's member that has one, the tag."""
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


def _classes_of(declared: Any) -> tuple[type, ...] | None:
    """The classes whose objects *declared* stands for, if that can be seen by the class of an object."""
    members = [unwrapped(member) for member in unwrapped(declared, union=True)]
    is_class = all((isinstance(m, type) and event_name(m) is not None) or m is type(None) for m in members)
    return tuple(members) if is_class and any(m is not type(None) for m in members) else None
