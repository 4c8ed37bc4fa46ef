"""What an engine must do: store runs, and hand over what a dead process has left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from agentserver.durable._records import Changes, Created, Event, Journal, NewRun, RunRecord, Status
from agentserver.errors import AgentServerError

Admit: TypeAlias = Callable[[int, int], Status]
"""Says how a run begins, from how many of its session run and wait; raises if it may not."""


class StoreUnavailableError(AgentServerError):
    """The store cannot be written or read now; what was asked has not happened, and can be asked again."""


class DisplacedError(AgentServerError):
    """Somebody else has claimed the run: who writes it no longer may."""


class Filter(NamedTuple):
    """Which runs are listed, newest first.

    Args:
        owner: Of whom; ``None`` is everybody's.
        status: Which ones; ``None`` is all.
        session_id: Of which session; ``None`` is all.
        before: Only those asked for before the run with this id; ``None`` begins with the newest.
        limit: How many at most.
    """

    owner: str | None = None
    status: Status | None = None
    session_id: str | None = None
    before: str | None = None
    limit: int = 50


class Engine(Protocol):
    """Stores runs. Every method is one transaction, seen whole or not at all, on disk when it returns.

    A run belongs to whoever claimed it last. Runs of one session of one owner are in the order in which they
    were created. What is asked while the store cannot answer raises `StoreUnavailableError`.
    """

    async def open(self) -> None:
        """Begin; until it returns nothing else is asked.

        Raises:
            ConfigurationError: If the store can never be used as it is.
            StoreUnavailableError: If it cannot be used yet: another process holds it. Ask again.
        """
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...

    async def probe(self) -> None:
        """Write something that changes nothing, to see whether it can be done."""
        ...

    async def create(self, run: NewRun, admit: Admit) -> Created:
        """Store *run*, unless there is one of its id, or of its owner and key: then give that one.

        The status is what *admit* says; what it raises is raised, and nothing stored.
        """
        ...

    async def claim(self, invocation_id: str, now: float) -> Journal | None:
        """Take up a run that is queued or in progress: it is in progress, of one epoch more.

        If it had been claimed before, it has one recovery more, and one stale one.

        Returns:
            What is known of it; ``None`` if there is nothing to take up.
        """
        ...

    async def write(self, invocation_id: str, epoch: int, changes: Changes) -> None:
        """Record *changes* of a run; with a step or an event of the handler it is no longer stale.

        Raises:
            DisplacedError: If the run is not in progress in that epoch.
        """
        ...

    async def cancel(self, invocation_id: str, now: float) -> RunRecord | None:
        """Note that a run in progress shall end.

        Returns:
            The run, as it then stands; ``None`` if there is none.
        """
        ...

    async def signal(self, invocation_id: str, name: str, payload: str, now: float) -> int | None:
        """Store a signal for a run.

        Returns:
            How many of that name it had before; ``None`` if there is no such run, or it has ended.
        """
        ...

    async def get(self, invocation_id: str) -> RunRecord | None:
        """The run of that id."""
        ...

    async def list(self, which: Filter) -> Sequence[RunRecord]:
        """The runs that *which* means, newest first."""
        ...

    async def events(self, invocation_id: str, after: int, limit: int) -> Sequence[Event]:
        """The events of a run above the id *after*, in order, *limit* of them at most."""
        ...

    async def unfinished(self) -> Sequence[RunRecord]:
        """All runs that are queued or in progress, in the order in which they were created."""
        ...

    async def next_queued(self, owner: str, session_id: str) -> RunRecord | None:
        """The run of a session that is to go on; ``None`` if none waits, or one is in progress."""
        ...

    async def purge(self, now: float, limit: int) -> Sequence[str]:
        """Forget up to *limit* runs that have expired, and events that have.

        Returns:
            The ids of the runs that something was forgotten of; fewer than *limit* if there is no more.
        """
        ...


class News(str, Enum):
    """What another process has done to a run, or to what this one knows."""

    EVENTS = "events"
    """It has further events, or none any more."""
    CANCELLED = "cancelled"
    """It shall end."""
    SIGNALLED = "signalled"
    """It has further signals."""
    SUPERSEDED = "superseded"
    """A later input of its session waits."""
    ABANDONED = "abandoned"
    """Runs, whichever, can be taken up."""
    MISSED = "missed"
    """For a while nothing was heard: all that is known may have changed."""
    DISPLACED = "displaced"
    """This process was taken for dead: others go on with the runs that it had claimed."""


@runtime_checkable
class SharedEngine(Engine, Protocol):
    """An engine that several processes use at once. A run is claimed by one that lives, or by none.

    Here `claim` gives ``None``, too, for a run that another living process has, and a run that is created in
    progress is its creator's. `close` lets the others have what this process has claimed.
    """

    def listen(self, told: Callable[[News, str], None]) -> None:
        """Have *told* called with what other processes do, and the id of the run; ask before `open`."""
        ...

    async def abandoned(self, handler: str, limit: int) -> Sequence[RunRecord]:
        """Up to *limit* runs of *handler* that are in nobody's hands.

        They are in progress, or the next of a session in which nothing is.
        """
        ...

    async def signals(self, invocation_id: str) -> Mapping[str, Sequence[str]]:
        """What was signalled to a run, by name, in order."""
        ...

    async def waiting(self, handler: str) -> int:
        """How many runs of *handler* wait for one that this process has: the sum over all is what waits."""
        ...
