"""Connecting again after a connection broke: with backoff, and not for ever.

A connection is worth another when the server went away or the network broke (1001, 1006, 1012, 1013), and
not when somebody meant the end. The same goes for an attempt that fails: no server, a lost or late answer,
and an error that may pass are tried again; a 404 is not. A 401 is, for the next attempt asks for a new
token.

Attempts are counted from the last sign of life, not from the last connection: a server that accepts
connections only to drop them would else be asked for ever. The wait between two attempts doubles, varies at
random, so that the callers of a server that restarts do not come back at once, and is never shorter than
the server's ``Retry-After``. One that is longer than the longest wait ends the attempts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agentserver.client.errors import (
    ClientError,
    ConnectionClosedError,
    DeadlineError,
    LostConnectionError,
    ResponseError,
    UnreachableError,
)
from agentserver.client.retry import Retry
from agentserver.wire import CloseCode

__all__ = ["Reconnector", "is_resumable"]

OpenedT = TypeVar("OpenedT")

_RESUMABLE = frozenset({CloseCode.GOING_AWAY, CloseCode.ABNORMAL, 1012, 1013})
"""Closes after which a new connection helps: the server went away, broke, restarts, or asks to come again."""


def is_resumable(code: int) -> bool:
    """Whether a new connection may help after a close with *code*."""
    return code in _RESUMABLE


class Reconnector:
    """Connects again, at most as often as *retry* says since the last sign of life.

    A sign of life is a message, or a connection that lasted longer than the longest wait: a server that takes
    connections only to drop them gives none.
    """

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._attempts = 0
        self._opened_at = 0.0

    def opened(self) -> None:
        """A connection came about."""
        self._opened_at = time.monotonic()

    def alive(self) -> None:
        """A message came."""
        self._attempts = 0

    async def connect(self, open_again: Callable[[], Awaitable[OpenedT]], gone: ClientError) -> OpenedT:
        """Connect again.

        Args:
            open_again: Opens a connection, once.
            gone: How the last connection ended: raised when every attempt only led to the next such end.

        Raises:
            ClientError: What the last attempt raised, or one after which trying again is of no use.
        """
        if time.monotonic() - self._opened_at > self._retry.max_delay:
            self._attempts = 0
        try:
            return await self._attempt(open_again, gone)
        except BaseException:
            self._attempts = 0
            raise

    async def _attempt(self, open_again: Callable[[], Awaitable[OpenedT]], gone: ClientError) -> OpenedT:
        asked: float | None = None
        while self._attempts < self._retry.attempts:
            self._attempts += 1
            await asyncio.sleep(self._retry.delay(self._attempts, asked))
            try:
                return await open_again()
            except ClientError as error:
                asked = error.retry_after if isinstance(error, ResponseError) else None
                too_late = asked is not None and asked > self._retry.max_delay
                if self._attempts == self._retry.attempts or too_late or not _may_pass(error):
                    raise
        raise gone


def _may_pass(error: ClientError) -> bool:
    if isinstance(error, ResponseError):  # after a 401 the next attempt has a new token
        return error.temporary or error.status in {401, 408} or error.status >= 500
    if isinstance(error, ConnectionClosedError):
        return is_resumable(error.code)
    return isinstance(error, (UnreachableError, LostConnectionError, DeadlineError))
