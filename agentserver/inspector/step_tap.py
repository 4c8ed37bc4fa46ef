"""The tap's part for durable runs: each step that is recorded, for no request tells of steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from agentserver.durable._journal import JournalWriter
from agentserver.durable._records import End, StepRecord
from agentserver.inspector.records import Kind

if TYPE_CHECKING:
    from agentserver.inspector.tap import Tap

__all__ = ["tap_steps"]

_OUTCOMES: Final = {"v": "done", "e": "failed"}


def tap_steps(tap: Tap) -> None:
    """Put a record of each step once it is written."""
    original = JournalWriter.write

    async def write(
        self: JournalWriter, step: StepRecord | None = None, *, retries: int = 0, end: End | None = None
    ) -> None:
        await original(self, step, retries=retries, end=end)
        if step is not None:
            fields = {
                "run": self.name,
                "name": step.key.name,
                "number": step.key.use,
                "outcome": "to be tried again" if step.outcome is None else _OUTCOMES[step.outcome[2]],
                "failures": step.failures,
            }
            tap.put(Kind.STEP, 0, json.dumps(fields).encode())

    JournalWriter.write = write  # type: ignore[method-assign]  # every run of the process is to be tapped
