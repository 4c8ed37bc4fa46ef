"""Asking again and again until an invocation is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentserver.client.answer import Answer
from agentserver.client.errors import DeadlineError, ResponseError
from agentserver.client.retry import limit

__all__ = ["poll"]

_SHORTEST_PAUSE = 0.05
"""Seconds between two questions even when a server says ``Retry-After: 0``: no caller shall spin."""


async def poll(
    ask: Callable[[float], Awaitable[Answer]],
    done: Callable[[Answer], bool],
    *,
    invocation_id: str,
    interval: float,
    timeout: float,
) -> Answer:
    """Ask until *done*, and return the last answer.

    Args:
        ask: Asks once; given the seconds that are left.
        done: Says whether an answer is the last.
        invocation_id: For messages.
        interval: Seconds between two questions, when the server does not say.
        timeout: Seconds until the invocation must be done.

    Raises:
        DeadlineError: If it is not done by then.
        ResponseError: If the answer is an error that will not pass.
        ValueError: If the interval or the time-out is not above 0.
    """
    clock = asyncio.get_running_loop().time
    end = clock() + limit(timeout, 0.0)
    pause = limit(interval, 0.0, "the interval")
    while True:
        try:
            answer = await ask(max(end - clock(), _SHORTEST_PAUSE))
        except ResponseError as error:
            if not error.temporary:
                raise
            asked, session_id = error.retry_after, error.session_id
        else:
            if done(answer):
                return answer
            asked, session_id = answer.retry_after, answer.session_id
        next_pause = max(pause if asked is None else asked, _SHORTEST_PAUSE)
        if clock() + next_pause > end:
            raise DeadlineError(
                f"the invocation was not done within {timeout:g} s",
                invocation_id=invocation_id,
                session_id=session_id,
            )
        await asyncio.sleep(next_pause)
