"""How long to wait, and what may be tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["NO_RETRY", "Retry", "Timeouts", "limit"]


def limit(timeout: float | None, default: float, name: str = "the time-out") -> float:
    """Return *timeout*, or *default* for None, as a number of seconds.

    Raises:
        ValueError: If it is not above 0.
    """
    seconds = default if timeout is None else timeout
    if not seconds > 0:
        raise ValueError(f"{name} is {timeout!r}, but needs a number of seconds above 0")
    return seconds


@dataclass(frozen=True)
class Timeouts:
    """How long each part of a call may take, in seconds, each above 0.

    Args:
        connect: Until a connection is made.
        answer: From the request to the end of a plain answer, or to the beginning of a stream; attempts that
            are repeated share it.
        idle: Between two pieces of a stream. Servers send a keep-alive comment every 15 seconds.
        close: For the peer's part of a WebSocket's closing handshake.
        token: Until a credential has given a token.

    Raises:
        ValueError: If one is not above 0.
    """

    connect: float = 10.0
    answer: float = 300.0
    idle: float = 60.0
    close: float = 5.0
    token: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            limit(value, 0.0, f"the time-out {name!r}")


@dataclass(frozen=True)
class Retry:
    """What is tried again, how often and after how long.

    Without being asked, only what cannot have run is repeated: a connection that never came about, and
    ``get``, which changes nothing.

    Args:
        attempts: How often a call is tried in all, 1 or more.
        first_delay: Seconds before the second attempt; it doubles from there, and varies at random by half.
        max_delay: The most seconds between two attempts. An answer whose ``Retry-After`` asks for more is not
            repeated, for a server is never asked earlier than it said.
        repeat_posts: Also repeat an invocation whose connection broke or that was answered with 429, 502,
            503 or 504, under the same invocation id. It may then run twice.

    Raises:
        ValueError: If *attempts* is not 1 or more, or a delay not 0 or more.
    """

    attempts: int = 3
    first_delay: float = 0.2
    max_delay: float = 10.0
    repeat_posts: bool = False

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}, but needs to be 1 or more")
        if self.first_delay < 0 or self.max_delay < 0:
            raise ValueError("first_delay and max_delay need to be 0 or more seconds")

    def delay(self, attempt: int, retry_after: float | None = None) -> float:
        """Seconds to wait after the *attempt*-th try, from 1, failed; *retry_after* if it is given."""
        if retry_after is not None:
            return retry_after
        whole: float = min(self.first_delay * 2 ** min(attempt - 1, 32), self.max_delay)
        return whole * random.uniform(0.5, 1.0)  # noqa: S311 - spreads callers in time, guards nothing


NO_RETRY = Retry(attempts=1)
