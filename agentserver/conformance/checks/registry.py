"""The table of check functions by requirement id."""

from __future__ import annotations

from collections.abc import Callable

from agentserver.conformance.observation import Observation

Check = Callable[[Observation], str | None]

CHECKS: dict[str, Check] = {}


def check(*ids: str) -> Callable[[Check], Check]:
    """Register a function for the requirements of these *ids*.

    Raises:
        ValueError: If one of them has a function already.
    """

    def register(function: Check) -> Check:
        for requirement in ids:
            if requirement in CHECKS:
                raise ValueError(f"{requirement} has two checks")
            CHECKS[requirement] = function
        return function

    return register
