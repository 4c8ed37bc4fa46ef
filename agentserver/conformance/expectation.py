"""Match an observation against what a requirement expects: plain data against plain data.

=====================  =====================================================================
expected               matches
=====================  =====================================================================
an object              an object that has at least these members, each matching
a list                 a list of the same length, member by member
``"~REGEX"``           text that the expression matches as a whole
``"<absent>"``         a member that is not there
``"<any>"``            whatever is there
``"...<uuid>..."``     text that is this once its UUIDs and 32-digit ids are normalised
``{"<any>": [...]}``   what one of these matches
``{"<each>": x}``      a list, not empty, whose every member matches x
``{"<json>": x}``      text that is JSON which matches x
``{"<not>": x}``       what x does not match
``{"<count>": n}``     a list of n members
anything else          the same value
=====================  =====================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from agentserver.conformance.observation import NOT_RECORDED, Observation, json_body, normalise

_ABSENT = "<absent>"
_ANYTHING = "<any>"
_MISSING = object()


class UnobservableError(Exception):
    """The question cannot be put to this observation; the message says what is missing."""


def view(seen: Observation) -> dict[str, Any]:
    """*seen* as one object: ``answers``, the last answer's members, ``close_events``, ``output``."""
    answers = [{**answer, "json": json_body(answer)} for answer in seen.results]
    whole: dict[str, Any] = dict(answers[-1]) if answers else {}
    whole |= {str(index): answer for index, answer in enumerate(answers)}
    whole["answers"] = answers
    if seen.close_events is not None:
        whole["close_events"] = seen.events()
    if seen.output is not None:
        whole["server_output"] = seen.output
    return whole


def missed(expected: Mapping[str, Any], seen: Observation) -> str | None:
    """What of *expected* the observation does not show, as a sentence; ``None`` where it shows all.

    Raises:
        UnobservableError: If the server's output is needed and was not at hand, or not recorded.
    """
    if "close_events" in expected and seen.close_events is None:
        raise UnobservableError("needs the server's log")
    if seen.recorded and NOT_RECORDED & set(expected):
        raise UnobservableError("needs what a recording does not keep")
    if "server_output" in expected and seen.output is None:
        raise UnobservableError("needs the server's output")
    return differs(expected, view(seen), "")


def differs(expected: Any, actual: Any, path: str) -> str | None:
    """The first place where *actual* does not match *expected*, as a sentence; ``None`` where all matches."""
    if is_object(expected):
        return _object(expected, actual, path)
    if is_list(expected):
        return _list(expected, actual, path)
    if isinstance(expected, str):
        return _text(expected, actual, path)
    if expected is not actual and (expected != actual or type(expected) is not type(actual)):
        return _miss(path, expected, actual)
    return None


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether *value* is a JSON array."""
    return isinstance(value, list)


def _object(expected: dict[str, Any], actual: Any, path: str) -> str | None:
    if len(expected) == 1 and next(iter(expected)) in _OPERATORS:
        ((operator, operand),) = expected.items()
        return _OPERATORS[operator](operand, actual, path)
    if not is_object(actual):
        return _miss(path, expected, actual)
    for name, value in expected.items():
        place = f"{path}.{name}" if path else name
        found: Any = actual.get(name, _MISSING)
        if value == _ABSENT:
            if found is not _MISSING:
                return f"{place} is there ({_short(found)}) and should not be"
        elif found is _MISSING:
            if not (isinstance(value, dict) and "<not>" in value):
                return f"{place} is missing{_shown(actual)}"
        elif (problem := differs(value, found, place)) is not None:
            return problem
    return None


def _list(expected: list[Any], actual: Any, path: str) -> str | None:
    if not is_list(actual):
        return _miss(path, expected, actual)
    if len(actual) != len(expected):
        return f"{path} has {len(actual)} members instead of {len(expected)}: {_short(actual)}"
    for index, (want, have) in enumerate(zip(expected, actual, strict=True)):
        if (problem := differs(want, have, f"{path}[{index}]")) is not None:
            return problem
    return None


def _text(expected: str, actual: Any, path: str) -> str | None:
    if expected == _ANYTHING:
        return None
    if not isinstance(actual, str):
        return _miss(path, expected, actual)
    if expected.startswith("~"):
        matches = re.fullmatch(expected[1:], actual, re.DOTALL) is not None
    elif "<uuid>" in expected or "<hex32>" in expected:
        matches = normalise(actual) == expected
    else:
        matches = actual == expected
    return None if matches else _miss(path, expected, actual)


def _any(options: list[Any], actual: Any, path: str) -> str | None:
    problems = [differs(option, actual, path) for option in options]
    return None if None in problems else _miss(path, {"<any>": options}, actual)


def _each(expected: Any, actual: Any, path: str) -> str | None:
    if not is_list(actual) or not actual:
        return _miss(path, {"<each>": expected}, actual)
    return next(filter(None, (differs(expected, m, f"{path}[{i}]") for i, m in enumerate(actual))), None)


def _json(expected: Any, actual: Any, path: str) -> str | None:
    try:
        return differs(expected, json.loads(actual), path)
    except (TypeError, ValueError):
        return f"{path} is not JSON: {_short(actual)}"


def _not(expected: Any, actual: Any, path: str) -> str | None:
    return (
        f"{path} is {_short(actual)} and should not be" if differs(expected, actual, path) is None else None
    )


def _count(expected: int, actual: Any, path: str) -> str | None:
    length = len(actual) if is_list(actual) else -1
    return (
        None if length == expected else f"{path} has {length} members instead of {expected}: {_short(actual)}"
    )


_OPERATORS: dict[str, Callable[[Any, Any, str], str | None]] = {
    "<any>": _any,
    "<each>": _each,
    "<json>": _json,
    "<not>": _not,
    "<count>": _count,
}


def _miss(path: str, expected: Any, actual: Any) -> str:
    return f"{path} is {_short(actual)}, expected {_short(expected)}"


def _shown(members: Mapping[str, Any]) -> str:
    return f" (the answer: {_short(members['error'])})" if "error" in members else ""


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return repr(text[:117] + "...") if len(text) > 120 else (repr(text) if isinstance(value, str) else text)
