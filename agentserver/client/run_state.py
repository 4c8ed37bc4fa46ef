"""How a durable run stands, as the server tells it (contract, section 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from agentserver.client.errors import AnswerError

__all__ = ["RunState"]

_TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class RunState:
    """How a durable run stands. What an answer does not tell has its default.

    Args:
        status: ``queued``, ``in_progress``, ``cancelling``, ``completed``, ``failed`` or ``cancelled``.
        invocation_id: The run's id.
        session_id: The session that it belongs to.
        position: How many inputs of the session run or wait before it, while it is queued; else 0.
        attempt: 1, and 1 more for each try of a step that failed and was followed by another.
        recoveries: How often it was taken up again after its process had gone.
        created_at: When it was asked for, as ISO 8601.
        updated_at: When something of it was recorded last.
        last_event_id: The id of its last event, 0 without one.
        output: What it gave, once completed.
        error: ``{"code": …, "message": …}``, once failed.
    """

    status: str
    invocation_id: str
    session_id: str | None = None
    position: int = 0
    attempt: int = 1
    recoveries: int = 0
    created_at: str = ""
    updated_at: str = ""
    last_event_id: int = 0
    output: Any = None
    error: Mapping[str, str] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.status in _TERMINAL

    @classmethod
    def read(cls, told: Any) -> RunState:
        """What a server tells of a run.

        Args:
            told: The JSON of an answer, of one of the list, of the last event, or of an action's result.

        Raises:
            AnswerError: If it is not that of a durable run.
        """
        members = _members(told)
        known: dict[str, Any] = {name: members[name] for name in cls.__dataclass_fields__ if name in members}
        if not (isinstance(known.get("status"), str) and isinstance(known.get("invocation_id"), str)):
            raise AnswerError("the answer does not tell of a durable run: is the handler durable?")
        return cls(**known)

    @classmethod
    def read_list(cls, told: Any) -> tuple[list[RunState], str | None]:
        """What a server tells of several runs, and what to ask on from; ``None`` if these are the last.

        Args:
            told: The JSON of an answer.

        Raises:
            AnswerError: If it is no list of durable runs.
        """
        members = _members(told)
        runs, before = members.get("runs"), members.get("before")
        if not isinstance(runs, list):
            raise AnswerError("the answer is no list of runs: is the handler durable?")
        states = [cls.read(run) for run in cast("Sequence[Any]", runs)]
        return states, before if isinstance(before, str) else None


def _members(told: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", told) if isinstance(told, dict) else {}
