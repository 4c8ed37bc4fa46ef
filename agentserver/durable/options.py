"""How a durable handler behaves: every limit and switch, checked when made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from agentserver._checks import SECONDS, SOME_SECONDS, SWITCH, Check, check_options, optional, whole

Busy: TypeAlias = Literal["queue", "steer", "reject", "parallel"]

_BUSY: Final = ("queue", "steer", "reject", "parallel")
_TIME: Final = Check(
    "a timedelta above 0, such as timedelta(days=7)",
    lambda value: isinstance(value, timedelta) and value > timedelta(0),
)
_NAME: Final = Check(
    "a text of 1 to 256 letters, digits or any of . _ : -",
    lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._:-]{1,256}", value) is not None,
)
_CHECKS: Final[Mapping[str, Check]] = {
    "retries": whole(0),
    "backoff": SECONDS,
    "max_backoff": SECONDS,
    "busy": Check("'queue', 'steer', 'reject' or 'parallel'", lambda value: value in _BUSY),
    "max_pending": whole(0),
    "keep": _TIME,
    "keep_events": optional(_TIME, "as long as the run"),
    "cancel_grace": SOME_SECONDS,
    "max_recoveries": whole(1),
    "max_value_size": whole(1),
    "keep_awake": SWITCH,
    "name": optional(_NAME, "the name of the class"),
}


@dataclass(frozen=True, kw_only=True)
class Durable:
    """The options of ``class MyHandler(InvocationHandler, durable=Durable(…))``.

    Args:
        retries: How often a step that fails is tried again, unless the step says otherwise.
        backoff: Seconds before the first retry; each further one waits twice as long.
        max_backoff: The most seconds between two tries.
        busy: What a second input of a session does while a run is under way: ``"queue"`` waits for its turn;
            ``"steer"`` waits too, and sets ``superseded`` on the run before it; ``"reject"`` is answered with
            409; ``"parallel"`` runs beside it.
        max_pending: How many inputs of a session may wait; one more is answered with 429.
        keep: How long a finished run can be asked for; then its id and key are free again.
        keep_events: How long its events can; ``None`` is as long as the run.
        cancel_grace: Seconds that a cancelled run may take to clean up.
        max_recoveries: How often in a row a run may be taken up again without recording anything, before it
            is given up: such a run is what ends its process.
        max_value_size: Characters of JSON that an input, a step's result, an event or an output may have.
        keep_awake: Whether the hosting platform is asked not to stop the container while runs work, by a task
            lease that is renewed every 30 seconds; elsewhere it does nothing. The platform's part is in
            private preview.
        name: What the runs are filed under; ``None`` is the name of the class. Keep it when the class is
            renamed: runs of another name are left alone.

    Raises:
        ConfigurationError: If a value is of another type, or out of its range.
    """

    retries: int = 3
    backoff: float = 1.0
    max_backoff: float = 60.0
    busy: Busy = "queue"
    max_pending: int = 9
    keep: timedelta = timedelta(days=7)
    keep_events: timedelta | None = None
    cancel_grace: float = 10.0
    max_recoveries: int = 10
    max_value_size: int = 1_000_000
    keep_awake: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        check_options(self, _CHECKS)

    def pause(self, failures: int) -> float:
        """Seconds to wait after that many *failures* of a step, 1 or more."""
        return min(self.max_backoff, self.backoff * 2.0 ** min(failures - 1, 32))
