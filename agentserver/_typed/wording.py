"""What is wrong with a value, in the same words whichever engine has found it.

An engine's own text never reaches a client: it may quote the value, and changes with its releases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from agentserver._typed.codec import MismatchError

NOT_JSON: Final = "is not JSON"
NOTHING: Final = "is empty"
TOO_DEEP: Final = "is nested too deeply"
MISSING: Final = "is missing"
UNKNOWN: Final = "has a field that is not known"
NOT_ALLOWED: Final = "is none of the allowed values"
UNFIT: Final = "does not fit what is declared"

KINDS: Final[Mapping[str, str]] = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "an array",
    "datetime": "a date and time",
    "bytes": "base64",
}
FORMATS: Final[Mapping[str, str]] = {
    "datetime": "a date and time such as 2026-01-31T12:00:00Z",
    "date": "a date such as 2026-01-31",
    "time": "a time such as 12:00:00",
    "duration": "a duration such as PT30S",
    "UUID": "a UUID",
    "base64": "base64",
    "decimal": "a decimal number",
}


def kind_of(value: Any) -> str:
    """What *value*, decoded from JSON, is to a reader."""
    if value is None:
        return KINDS["null"]
    kinds: dict[type, str] = {bool: "bool", str: "str", int: "int", float: "float", list: "array"}
    return KINDS[next((name for kind, name in kinds.items() if type(value) is kind), "object")]


def expected(kinds: str, got: str | None = None) -> str:
    """Say that one of *kinds* was expected, as an engine lists them: ``int | null``."""
    wanted = " or ".join(KINDS.get(kind, kind) for kind in kinds.split(" | "))
    return f"expected {wanted}" + (f", got {KINDS.get(got, got)}" if got else "")


def of_length(kind: str, operator: str, length: str) -> str:
    """Say how long a *kind* must be; *operator* is ``>=``, ``<=`` or empty."""
    number = {">=": f"at least {length}", "<=": f"at most {length}", "": f"exactly {length}"}[operator]
    unit = {"str": "characters", "array": "items", "object": "fields"}.get(kind, "bytes")
    return f"expected {KINDS.get(kind, kind)} of {number} {unit.removesuffix('s') if length == '1' else unit}"


_RULES: Final[tuple[tuple[str, Callable[[re.Match[str]], str]], ...]] = (
    (r"Expected `([^`]+)`, got `([^`]+)`", lambda m: expected(m[1], m[2])),
    (r"Expected `(\w+)` of length (?:(>=|<=) )?(\d+).*", lambda m: of_length(m[1], m[2] or "", m[3])),
    (r"Expected `([^`]+)` ((?:>=|<=|>|<) .+)", lambda m: f"{expected(m[1])} {m[2]}"),
    (r"Expected `([^`]+)` that's a (multiple of .+)", lambda m: f"{expected(m[1])} that is a {m[2]}"),
    (r"Expected `str` matching regex (.+)", lambda m: f"expected a string that matches {m[1]}"),
    (r"Expected `\w+` with (a|no) timezone component", lambda m: f"expected a time with {m[1]} time zone"),
    (r"Expected `([^`]+)`", lambda m: expected(m[1])),
    (r"Invalid (?:enum )?value .*", lambda _: NOT_ALLOWED),
    (r"Invalid (?:\w+ encoded )?(datetime|date|time|duration|UUID).*", lambda m: f"expected {FORMATS[m[1]]}"),
    (r"Invalid UTF-8 .*", lambda _: "expected text in UTF-8"),
    (r"Invalid base64 .*", lambda _: f"expected {FORMATS['base64']}"),
    (r"Invalid decimal .*", lambda _: f"expected {FORMATS['decimal']}"),
    (r"Object contains unknown field .*", lambda _: UNKNOWN),
)
# Not compiled here: most starts see no fault, and re keeps what it has compiled.
_PLACE: Final = r" - at (?:`key` in )?`(\$[^`]*)`$"
_ABSENT: Final = r"Object missing required field `([^`]*)`"


def msgspec_fault(text: str) -> MismatchError:
    """What msgspec's error *text* says."""
    place = re.search(_PLACE, text)
    target = "$" if place is None else place[1]
    text = text if place is None else text[: place.start()]
    absent = re.fullmatch(_ABSENT, text)
    if absent is not None:
        return MismatchError(MISSING, f"{target}.{absent[1]}")
    for pattern, say in _RULES:
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found is not None:
            return MismatchError(say(found), target)
    return MismatchError(UNFIT, target)
