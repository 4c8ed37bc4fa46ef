"""What came back from a server: the one thing that requirements are asked about, live or recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Answer = dict[str, Any]
"""What one step gave: ``status``, ``headers``, ``body`` for HTTP; ``frames`` too for a WebSocket;
``exit_code`` and ``output`` for a process; ``error`` where nothing usable came."""

CLOSE_EVENT = "invocations_ws connection closed"
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_HEX32 = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_DURATION = re.compile(r"(duration_ms=)\d+(\.\d+)?")
NOT_RECORDED = {"body_ms", "done_ms", "seconds", "output"}
"""Members of an answer that a recording does not keep: times, and what a process printed."""

_FIELD = re.compile(r"([\w.]+)=(\S*)")


def normalise(text: str) -> str:
    """*text* with its UUIDs and 32-digit ids replaced by ``<uuid>`` and ``<hex32>``."""
    return _HEX32.sub("<hex32>", _UUID.sub("<uuid>", text))


@dataclass(frozen=True)
class Observation:
    """The answers of one server to one case.

    Args:
        case: The id of the case.
        results: One answer for each step that gives one.
        close_events: The server's close-event lines of this case; ``None`` where its output was not at hand.
        output: What the server printed during the case; ``None`` where it was not at hand.
        recorded: It comes from a recording, which does not keep everything.
    """

    case: str
    results: list[Answer] = field(default_factory=list[Answer])
    close_events: list[str] | None = None
    output: str | None = None
    recorded: bool = False

    @property
    def last(self) -> Answer:
        """The answer of the last step."""
        return self.results[-1]

    def events(self) -> list[dict[str, str]]:
        """The close events as fields: ``session_id``, ``close_code``, ``duration_ms``, ``error_code``."""
        return [parse_close_event(line) for line in self.close_events or []]

    def record(self, *, raw: bool = False) -> dict[str, Any]:
        """The form that recordings are stored in; volatile values are normalised unless *raw*."""
        results = [
            {name: value for name, value in answer.items() if name not in NOT_RECORDED}
            for answer in self.results
        ]
        record: dict[str, Any] = {"id": self.case, "results": results}
        if self.close_events is not None and any("frames" in answer for answer in self.results):
            record["close_events"] = [_DURATION.sub(r"\1<ms>", line) for line in self.close_events]
        if raw:
            return record
        record = json.loads(normalise(json.dumps(record)))
        for answer in record["results"]:
            if "x-platform-server" in answer.get("headers", {}):
                answer["headers"]["x-platform-server"] = "<server identity>"
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Observation:
        """The observation that *record*, of a recording, keeps. What the server printed is not in it."""
        return cls(record["id"], list(record["results"]), record.get("close_events"), recorded=True)


def close_event_lines(output: str) -> list[str]:
    """The close-event lines of a server's text *output*, from the event's name on."""
    lines = (line for line in output.splitlines() if CLOSE_EVENT in line)
    return [line[line.index(CLOSE_EVENT) :].strip() for line in lines if not line.lstrip().startswith('"')]


def parse_close_event(line: str) -> dict[str, str]:
    """The ``name=value`` pairs of a close-event *line*; ``code``, one peer's name, is ``close_code``."""
    found = _FIELD.findall(line.replace(".error.code=", ".error_code="))
    fields = {name.rsplit(".", 1)[-1]: value for name, value in found}
    if "code" in fields:
        fields["close_code"] = fields.pop("code")
    return fields


def json_body(answer: Mapping[str, Any]) -> Any:
    """The body of *answer* read as JSON, ``None`` where it is none."""
    try:
        return json.loads(answer.get("body", ""))
    except ValueError:
        return None
