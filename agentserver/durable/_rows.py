"""Runs as the SQL engines keep them: a row is what was asked, then how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agentserver.durable._records import NewRun, RunRecord, Status

ASKED: Final = ", ".join(NewRun._fields)
STATE: Final = ", ".join(RunRecord._fields[1:])
COLUMNS: Final = f"{ASKED}, {STATE}"
UNFINISHED: Final = "status IN ('queued', 'in_progress')"


def record_of(row: Sequence[Any]) -> RunRecord:
    """The run that a row of `COLUMNS` is; what follows these is left out."""
    size = len(NewRun._fields)
    state = RunRecord(NewRun(*row[:size]), *row[size : size + len(RunRecord._fields) - 1])
    return state._replace(
        status=Status(state.status),
        is_cancelled=bool(state.is_cancelled),
        has_events=bool(state.has_events),
    )
