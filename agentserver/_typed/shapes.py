"""What a value decoded from JSON is, to type checkers too."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Whether *value* is a JSON array; a tuple will be one."""
    return isinstance(value, (list, tuple))


def is_key(value: Any) -> TypeGuard[str | int]:
    """Whether *value* may be a tag: a string or a whole number."""
    return isinstance(value, (str, int))
