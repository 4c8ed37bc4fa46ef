"""Which ids a request has (contract, section 2). Pure functions of plain values."""

from __future__ import annotations

from agentserver._http.ids import new_uuid
from agentserver.wire import is_valid_id


def first_valid(*candidates: str | None) -> str:
    """The first candidate that may serve as an id, else a new one; an invalid one counts as absent."""
    for candidate in candidates:
        if candidate and is_valid_id(candidate):
            return candidate
    return new_uuid()
