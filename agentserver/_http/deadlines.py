"""How long a slow client is waited for: the rules alone, without a connection, a clock or a timer.

Theory of operation. A timer for each request would cost every request; so the server looks at all of its
connections every few seconds, and whoever is too slow is found a look later at most. A look is three
steps: the connection says what it sees (`Progress`), `ClientDeadlines.check` says what is to be done
(`Verdict`), and the connection does it. What the next look must know of this one, the verdict carries along
(`Waiting`), so that a check is a pure function and can be tried without waiting for anything.

Four things are waited for, one at a time but for the last:

- the first byte of a request, on an idle connection: it is closed without a word after ``keepalive_timeout``;
- the end of a request's headers: 408 after ``header_timeout``, counted from their first byte or, if they came
  while another request was served, from the end of that;
- more of a body that a handler waits for: 408 after ``body_timeout`` without a byte. A body that nobody reads
  is not the client's to hurry;
- that the client reads what was sent: it is cut off after ``write_timeout`` in which the bytes that wait for
  it became no fewer. That holds while its handler waits for it, and for what is left when a connection
  closes; a handler that may still write waits for nobody.

What moves is never cut: every deadline but that of the headers begins anew with each byte. That of the
headers does not, or a byte now and then could hold a connection for ever.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final, NamedTuple

from agentserver.options import AgentHostOptions

_SHORTEST_INTERVAL: Final = 0.05
_LONGEST_INTERVAL: Final = 5.0  # an idle connection is no reason to wake an idle server more often


class Waiting(NamedTuple):
    """What a look leaves for the next.

    Args:
        quiet_since: Since when nothing was seen to come of a body that is waited for.
        unsent: How many bytes waited for the client.
        unread_since: Since when these were not seen to become fewer.
    """

    quiet_since: float | None = None
    unsent: int = 0
    unread_since: float | None = None


class Progress(NamedTuple):
    """What a look sees of a connection.

    Args:
        idle_since: When it began to wait for a request; ``None`` while it serves one.
        head_since: Since when it waits for the rest of a request's headers; ``None`` if it does not.
        awaits_body: Whether more of a body is waited for.
        has_heard: Whether some of it came since the look before.
        unsent: How many bytes wait for the client.
        is_writable: Whether a handler may write without waiting for the client.
        is_closing: Whether it only waits for the client to read what is left.
        patience: Seconds after which a request on it need not be waited for, whatever the options say.
        before: What the look before has left.
    """

    idle_since: float | None
    head_since: float | None = None
    awaits_body: bool = False
    has_heard: bool = False
    unsent: int = 0
    is_writable: bool = False
    is_closing: bool = False
    patience: float = math.inf
    before: Waiting = Waiting()


class Action(Enum):
    """What is to be done with a connection."""

    NOTHING = auto()
    CLOSE = auto()
    """It was idle for too long."""
    REFUSE_HEAD = auto()
    """The headers of a request took too long."""
    FAIL_BODY = auto()
    """The body of a request took too long."""
    CUT_OFF = auto()
    """The client does not read what was sent."""


class Verdict(NamedTuple):
    """What is to be done, and what the next look must be told."""

    action: Action
    after: Waiting


class ClientDeadlines:
    """Says whose time is up.

    Args:
        options: Of which the time-outs of connections apply.

    Attributes:
        interval: Seconds between two looks at a connection.
    """

    def __init__(self, options: AgentHostOptions) -> None:
        # Without keep-alive a connection is there for its first request, which may take as long as its head.
        self._idle = options.keepalive_timeout or options.header_timeout or math.inf
        self._head = options.header_timeout or math.inf
        self._body = options.body_timeout or math.inf
        self._write = options.write_timeout or math.inf
        shortest = min(self._idle, self._head, self._body, self._write) / 4
        self.interval = min(max(shortest, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)

    def check(self, now: float, progress: Progress) -> Verdict:
        """Judge what is seen at *now*, in the clock of all the times in *progress*."""
        after = Waiting(_quiet_since(now, progress), progress.unsent, _unread_since(now, progress))
        if _is_over(after.unread_since, now, self._write):
            return Verdict(Action.CUT_OFF, after)
        if progress.is_closing:
            return Verdict(Action.NOTHING, after)
        return Verdict(self._action(now, progress, after), after)

    def _action(self, now: float, progress: Progress, after: Waiting) -> Action:
        if progress.idle_since is None:
            return Action.FAIL_BODY if _is_over(after.quiet_since, now, self._body) else Action.NOTHING
        if progress.head_since is None:
            limit = min(self._idle, progress.patience)
            return Action.CLOSE if _is_over(progress.idle_since, now, limit) else Action.NOTHING
        limit = min(self._head, progress.patience)
        return Action.REFUSE_HEAD if _is_over(progress.head_since, now, limit) else Action.NOTHING


def _quiet_since(now: float, progress: Progress) -> float | None:
    if not progress.awaits_body:
        return None
    before = progress.before.quiet_since
    return now if progress.has_heard or before is None else before


def _unread_since(now: float, progress: Progress) -> float | None:
    if not progress.unsent or progress.is_writable:
        return None
    before = progress.before
    return now if progress.unsent < before.unsent or before.unread_since is None else before.unread_since


def _is_over(since: float | None, now: float, limit: float) -> bool:
    return since is not None and now - since > limit
