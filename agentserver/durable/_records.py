"""What is stored of a run, as plain values. Everything that a user or a client gave is JSON text."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from enum import Enum
from typing import Any, NamedTuple


class Status(str, Enum):
    """Where a run stands, as it is stored. (``cancelling`` is a run in progress that shall be cancelled.)"""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows."""
        return self not in {Status.QUEUED, Status.IN_PROGRESS}


class NewRun(NamedTuple):
    """A run as it is asked for.

    Args:
        invocation_id: Its id, unique in the store.
        session_id: The session whose inputs it waits for.
        owner: A digest of who asked; empty if nobody said.
        key: The idempotency key, unique for its owner; ``None`` without one.
        digest: Of the input, to tell a repetition from another input.
        handler: What it is filed under.
        input: The input.
        headers: The headers that every attempt gets: ids of the platform, ``x-client-*``. Never logged.
        created: When it was asked for, in seconds since 1970.
    """

    invocation_id: str
    session_id: str
    owner: str
    key: str | None
    digest: str
    handler: str
    input: str
    headers: str
    created: float


class RunRecord(NamedTuple):
    """A run as it is stored.

    Args:
        asked: As it was asked for.
        status: Where it stands.
        updated: When something of it was recorded last, in seconds since 1970.
        epoch: How often it was claimed; who writes names it, so that a displaced process writes nothing.
        retries: How many tries of its steps have failed and were followed by another.
        recoveries: How often it was taken up again after its process had gone.
        stale: How many of these in a row, up to now, have recorded nothing.
        is_cancelled: Whether it shall end.
        last_event: The id of its last event, 0 without one.
        has_events: Whether its events are still there; ``False`` once they were purged.
        output: Its output, once completed.
        error: ``{"code": …, "message": …}``, once failed.
    """

    asked: NewRun
    status: Status
    updated: float
    epoch: int = 0
    retries: int = 0
    recoveries: int = 0
    stale: int = 0
    is_cancelled: bool = False
    last_event: int = 0
    has_events: bool = True
    output: str | None = None
    error: str | None = None

    @property
    def state(self) -> str:
        """Where it stands, as a client is told."""
        is_cancelling = self.is_cancelled and self.status is Status.IN_PROGRESS
        return "cancelling" if is_cancelling else self.status.value

    def snapshot(self) -> dict[str, Any]:
        """What a client is told of it."""
        told: dict[str, Any] = {
            "status": self.state,
            "invocation_id": self.asked.invocation_id,
            "session_id": self.asked.session_id,
            "attempt": self.retries + 1,
            "recoveries": self.recoveries,
            "created_at": timestamp(self.asked.created),
            "updated_at": timestamp(self.updated),
            "last_event_id": self.last_event,
        }
        if self.output is not None:
            told["output"] = json.loads(self.output)
        if self.error is not None:
            told["error"] = json.loads(self.error)
        return told


class StepKey(NamedTuple):
    """Which step: its name, and how often that name was used before."""

    name: str
    use: int


class StepRecord(NamedTuple):
    """What is known of a step.

    Args:
        key: Which step.
        outcome: ``{"v": result}`` or ``{"e": [type, message, code]}``; ``None`` while it has none.
        failures: How many of its tries have failed.
        position: Its place among the steps that the run itself has called, not a task of it; ``None`` for
            those. Where another step is called in that place, the code is another one.
    """

    key: StepKey
    outcome: str | None
    failures: int = 0
    position: int | None = None


class Event(NamedTuple):
    """One event of a run.

    Args:
        id: 1, 2, 3 … without gaps.
        kind: The framework's word, such as ``"run_start"``; empty for what the handler has emitted.
        data: The event.
        origin: Which emission of the run it is, to be told again when the run is repeated; ``None`` for what
            is not: an event of the framework's, or of a step.
    """

    id: int
    kind: str
    data: str
    origin: str | None = None


class End(NamedTuple):
    """How a run has ended.

    Args:
        status: A terminal one.
        output: The output, if it has one.
        error: The error, if it failed.
        expires: When the run may be forgotten, in seconds since 1970.
        events_expire: When its events may be.
    """

    status: Status
    output: str | None
    error: str | None
    expires: float
    events_expire: float


class Changes(NamedTuple):
    """What is written at once: all of it or nothing.

    Args:
        now: When, in seconds since 1970.
        events: Further events, in the order of their ids.
        steps: Steps that now have an outcome, or one more failure.
        retries: How many tries more have failed and are followed by another.
        end: The end of the run, if this is it.
    """

    now: float
    events: list[Event]
    steps: list[StepRecord]
    retries: int = 0
    end: End | None = None


class Journal(NamedTuple):
    """All that an attempt needs to go on from where the last one was.

    Args:
        run: The run, claimed.
        steps: Its steps that are known.
        origins: The emissions that are stored already.
        signals: What was signalled, by name, in order.
    """

    run: RunRecord
    steps: dict[StepKey, StepRecord]
    origins: frozenset[str]
    signals: dict[str, list[str]]


class Created(NamedTuple):
    """The answer to a `NewRun`.

    Args:
        run: The new run, or the one there was of the same id or key.
        is_new: Whether it is new.
        position: How many inputs of the session run or wait before it, if it is queued.
        before: The id of the session's run in progress, if there is one.
    """

    run: RunRecord
    is_new: bool
    position: int = 0
    before: str | None = None


def timestamp(seconds: float) -> str:
    """*seconds* since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
