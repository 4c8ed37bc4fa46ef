"""What users give, as JSON text: checked when it is given, so that nothing is stored that cannot be read."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from agentserver._http.error_response import to_json
from agentserver.durable.errors import StepFailedError
from agentserver.errors import InvocationError, text_of

_LONGEST_MESSAGE = 2048


class ValueRefusedError(Exception):
    """A value that cannot be stored; the sentence says why. Trying again would not help."""


def encode(value: Any, what: str, limit: int, *, objects: bool = True) -> str:
    """*value* as JSON.

    Args:
        value: Anything JSON.
        what: What it is, for the sentence of an error.
        limit: Characters it may have.
        objects: Whether dataclasses may become objects: not where the value is to come back as it was.

    Raises:
        ValueRefusedError: If JSON cannot carry it, or it is over the limit.
    """
    try:
        text = to_json(value, _fields if objects else None)
        try:
            text.encode()
        except UnicodeEncodeError:  # lone surrogates: JSON can escape them
            text = to_json(value, _fields if objects else None, ascii_only=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueRefusedError(
            f"{what} is what JSON cannot carry ({error}): give dict, list, str, int, float, bool or None"
        ) from None
    if len(text) > limit:
        raise ValueRefusedError(
            f"{what} has {len(text)} characters of JSON, over the limit of {limit}: keep it elsewhere and"
            " give where it is, or raise Durable(max_value_size=…)"
        )
    return text


def _fields(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"there is no JSON for {type(value).__name__}")


def encode_failure(error: Exception) -> str:
    """The outcome of a step that has failed for good with *error*."""
    code = error.code if isinstance(error, InvocationError) else None
    message = error.message if isinstance(error, InvocationError) else text_of(error)
    return to_json({"e": [type(error).__name__, message[:_LONGEST_MESSAGE], code]}, ascii_only=True)


def decode_outcome(step: str, outcome: str) -> Any:
    """The result that is recorded as *outcome* of *step*.

    Raises:
        StepFailedError: If it has failed.
    """
    decoded = json.loads(outcome)
    if "e" in decoded:
        raise StepFailedError(step, *decoded["e"])
    return decoded["v"]


def error_of(error: Exception) -> dict[str, str]:
    """What a client is told of a run that *error* has ended: nothing of an unexpected exception."""
    if isinstance(error, InvocationError):
        return {"code": error.code, "message": error.message}
    if isinstance(error, StepFailedError):
        if error.code is not None:
            return {"code": error.code, "message": error.message}
        return {"code": "step_failed", "message": f"The step {error.step!r} failed"}
    return {"code": "internal_error", "message": "Internal server error"}
