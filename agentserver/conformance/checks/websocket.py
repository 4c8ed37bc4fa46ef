"""Checks of the WebSocket's log lines."""

from __future__ import annotations

import json
import re
from typing import Any

from agentserver.conformance.checks.registry import check
from agentserver.conformance.expectation import UnobservableError
from agentserver.conformance.observation import CLOSE_EVENT, Observation
from agentserver.wire import (
    WS_CLOSE_CODE_FIELD,
    WS_DURATION_FIELD,
    WS_ERROR_CODE_FIELD,
    WS_NAMESPACE,
    WS_SESSION_ID_FIELD,
)

_SIZE = re.compile(r"\b(MiB|MB|bytes|too large)\b|1048576")
_ALWAYS = {WS_SESSION_ID_FIELD, WS_CLOSE_CODE_FIELD, WS_DURATION_FIELD}


@check("ws.event-fields")
def _event_fields(seen: Observation) -> str | None:
    """The first connection ends with the client's 4321, the second one with a failure of the handler."""
    events = _json_events(_output(seen))
    if len(events) != 2:
        return f"{len(events)} close events in the JSON log instead of 2"
    for event, code, failed in zip(events, (4321, 1011), (False, True), strict=True):
        wanted = _ALWAYS | ({WS_ERROR_CODE_FIELD} if failed else set[str]())
        fields = {name for name in event if name.startswith(WS_NAMESPACE)}
        if fields != wanted:
            return f"the close event has the fields {sorted(fields)}, expected {sorted(wanted)}"
        if event[WS_CLOSE_CODE_FIELD] != code:
            return f"{WS_CLOSE_CODE_FIELD} is {event[WS_CLOSE_CODE_FIELD]!r}, expected {code}"
        if not isinstance(event[WS_DURATION_FIELD], int | float):
            return f"{WS_DURATION_FIELD} is {event[WS_DURATION_FIELD]!r}, which is no number"
    return None


@check("ws.event-no-text")
def _event_without_text(seen: Observation) -> str | None:
    told = [line for line in seen.close_events or [] if "boom" in line or "Traceback" in line]
    return f"the close event tells the exception's text: {told[0]!r}" if told else None


@check("ws.over-1-mib")
def _one_warning(seen: Observation) -> str | None:
    lines = [line for line in _output(seen).splitlines() if "WARN" in line.upper()]
    warnings = [line for line in lines if _SIZE.search(line)]
    return (
        None
        if len(warnings) == 1
        else f"{len(warnings)} warnings of the size for two messages over 1 MiB on one connection"
    )


def _output(seen: Observation) -> str:
    if seen.output is None:
        raise UnobservableError("needs the server's log")
    return seen.output


def _json_events(output: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    for line in output.splitlines():
        if CLOSE_EVENT in line and line.startswith("{"):
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
    return events
