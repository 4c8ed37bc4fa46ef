"""What telemetry is told of durable runs: the seam between them and observing, loaded for them alone.

The arrow points one way, as in `observer`: runs hand over plain values, and nothing here knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

Counts = Callable[[], Mapping[str, int]]
"""How many runs there are now, by state: ``queued``, ``in_progress``. Over all processes it is their sum."""


class AttemptStart(NamedTuple):
    """An attempt that begins.

    Args:
        invocation_id: The run's.
        session_id: The run's.
        headers: The headers that it keeps of its request, lower case.
        recoveries: How often it was taken up again.
        earlier: The spans of the attempts before this one, each as a ``traceparent``.
    """

    invocation_id: str
    session_id: str
    headers: Mapping[str, str]
    recoveries: int
    earlier: Sequence[str]


class RunEnd(NamedTuple):
    """How a run ended.

    Args:
        status: ``completed``, ``failed`` or ``cancelled``.
        created: When it was asked for, in seconds since 1970.
        ended: When it ended.
        code: The error's code, if it failed; else empty.
        attempt: 1, and 1 more for each try of a step that failed and was followed by another.
    """

    status: str
    created: float
    ended: float
    code: str = ""
    attempt: int = 1


class StepObservation(Protocol):
    """One step that is carried out, observed in the task that calls it; nothing of it raises."""

    def failed(self, error: BaseException, *, is_final: bool) -> None:
        """A try has failed; another follows unless *is_final*."""
        ...

    def end(self) -> None:
        """The step is done: it is recorded, or was cut off."""
        ...


class AttemptObservation(Protocol):
    """One attempt, observed; nothing of it raises."""

    @property
    def traceparent(self) -> str:
        """Its span, for the attempts after it; empty if it has none."""
        ...

    def enter(self) -> None:
        """The running task is the attempt's: what it starts from now on is a child of it."""
        ...

    def step(self, name: str, use: int) -> StepObservation:
        """Begin a step."""
        ...

    def wrote(self, seconds: float) -> None:
        """Events were stored *seconds* after the first of them was emitted."""
        ...

    def end(self, end: RunEnd | None) -> None:
        """The attempt is over, and the run with it if *end* says so."""
        ...


class RunObserver(Protocol):
    """Telemetry, as durable runs know it."""

    def attempt(self, start: AttemptStart) -> AttemptObservation:
        """Begin an attempt."""
        ...
