"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["DEADLINE_SECONDS", "until"]

DEADLINE_SECONDS = 10.0
"""How long a test waits for what comes soon: a failing test must end, a slow machine must not fail it."""

_POLL_SECONDS = 0.01


async def until(
    condition: Callable[[], object], *, timeout: float = DEADLINE_SECONDS, what: str = "the condition"
) -> None:
    """Wait until *condition* returns something true.

    Args:
        condition: Asked a hundred times a second.
        timeout: Seconds to wait.
        what: What is waited for, for the message.

    Raises:
        AssertionError: If it has not become true by then.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while not condition():
        if loop.time() > end:
            raise AssertionError(f"{what} did not come about within {timeout:g} s")
        await asyncio.sleep(_POLL_SECONDS)
