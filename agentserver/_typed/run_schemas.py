"""The schemas of what is told of durable runs (contract, section 11), in JSON Schema of 2020-12."""

from __future__ import annotations

from typing import Any, Final

from agentserver.wire import ID_PATTERN

ID: Final[dict[str, Any]] = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
STATUSES: Final = ("queued", "in_progress", "completed", "failed", "cancelled")
_IDS: Final = {"invocation_id": ID, "session_id": ID}
_COUNT: Final = {"type": "integer", "minimum": 0}
_TIME: Final = {"type": "string", "format": "date-time"}
_ERROR: Final = {
    "type": "object",
    "description": "Once failed.",
    "required": ["code", "message"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
}


def record(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    """An object of *properties*, all there but the *optional* ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def snapshot(output: dict[str, Any] | None) -> dict[str, Any]:
    """How a run stands; *output* is what it gives, ``None`` where that is not told."""
    told = {
        "status": {"enum": [*STATUSES, "cancelling"]},
        **_IDS,
        "attempt": {"type": "integer", "minimum": 1},
        "recoveries": _COUNT,
        "created_at": _TIME,
        "updated_at": _TIME,
        "last_event_id": _COUNT,
        **({} if output is None else {"output": output}),
        "error": _ERROR,
    }
    return record(told, "output", "error")


def standing(*statuses: str) -> dict[str, Any]:
    """Where a run stands, in short."""
    return record({"status": {"enum": list(statuses)}, **_IDS})


def begun() -> dict[str, Any]:
    """Where a run stands that has been asked for, and has not ended."""
    place = {"type": "integer", "minimum": 1, "description": "How many run or wait before it, if it waits."}
    told = standing("in_progress", "queued", "cancelling")
    return {**told, "properties": {**told["properties"], "position": place}}


def runs() -> dict[str, Any]:
    """Some runs."""
    listed = {"type": "array", "items": snapshot(None)}
    return record({"runs": listed, "before": {**ID, "description": "Ask on with it."}}, "before")


def events(output: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the framework's own events carry, by name, those with an id; all others are the handler's."""
    attempt = {"type": "integer", "minimum": 1}
    trace = {"traceparent": {"type": "string"}}
    ended = snapshot(output)
    return {
        "run_start": record({"type": {"const": "run_start"}, "attempt": attempt, **trace}, "traceparent"),
        "recovered": record(
            {
                "type": {"const": "recovered"},
                "attempt": attempt,
                "recoveries": {"type": "integer", "minimum": 1},
                "last_step": {"type": ["string", "null"]},
                **trace,
            },
            "traceparent",
        ),
        "step_retry": record(
            {
                "type": {"const": "step_retry"},
                "step": {"type": "string"},
                "use": _COUNT,
                "failures": {"type": "integer", "minimum": 1},
                "delay": {"type": "number", "minimum": 0},
            }
        ),
        **{
            name: {
                "type": "object",
                "required": ["type"] if name == "failed" else ["type", *ended["required"]],
                "properties": {"type": {"const": name}, **ended["properties"]},
            }
            for name in ("completed", "failed", "cancelled")
        },
    }
