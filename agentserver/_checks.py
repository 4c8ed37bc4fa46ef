"""What the value of an option must be: a word for the reader and a test for the value, once for each kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, cast

from agentserver.errors import ConfigurationError


class Check:
    """What a value must be.

    Args:
        expected: As an error says it, such as ``"a whole number, 1 or more"``.
        is_good: Whether a value is that.
    """

    __slots__ = ("expected", "is_good")

    def __init__(self, expected: str, is_good: Callable[[object], bool]) -> None:
        self.expected = expected
        self.is_good = is_good


def whole(least: int, most: float = math.inf) -> Check:
    """A whole number of a range; ``True`` is none, though Python counts it as 1."""
    span = f"{least} or more" if most == math.inf else f"from {least} to {most}"
    join = ", " if most == math.inf else " "
    return Check(
        f"a whole number{join}{span}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


def optional(check: Check, without: str) -> Check:
    """What *check* says, or ``None``, which stands for *without*."""
    return Check(
        f"{check.expected}, or None for {without}", lambda value: value is None or check.is_good(value)
    )


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and value >= 0


TEXT: Final = Check("a text", lambda value: isinstance(value, str))
SWITCH: Final = Check("True or False", lambda value: isinstance(value, bool))
SECONDS: Final = Check("a finite number, 0 or more", _is_amount)
SOME_SECONDS: Final = Check("a finite number above 0", lambda value: _is_amount(value) and value != 0)


def texts(example: str) -> Check:
    """A tuple of texts, such as *example*; a text alone would be taken for its letters."""
    return Check(f"a tuple of texts, such as ({example!r},)", _is_texts)


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(item, str) for item in cast("tuple[object, ...]", value)
    )


def check_options(options: object, checks: Mapping[str, Check]) -> None:
    """Check each attribute of *options* that *checks* names.

    Raises:
        ConfigurationError: If one is not what it must be. It says which, its value, and what it must be.
    """
    for name, check in checks.items():
        value = getattr(options, name)
        if not check.is_good(value):
            raise ConfigurationError(f"{name} is {value!r}, but it must be {check.expected}")


def check_kind(value: object, kind: type, name: str) -> None:
    """Check that *value*, given as *name*, is a *kind*, or ``None``.

    Raises:
        ConfigurationError: If not. It says what it is, and what to write.
    """
    if value is not None and not isinstance(value, kind):
        wanted = f"{kind.__name__}{'.read' if hasattr(kind, 'read') else ''}(…)"
        raise ConfigurationError(f"{name} is of the type {type(value).__name__}: write {wanted} instead")
