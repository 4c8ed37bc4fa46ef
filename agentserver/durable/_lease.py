"""Keeping a container awake while runs work: the platform stops one that nobody calls, whatever it does.

A `Lease` is what the platform looks at. It is held while runs work, and only if they do for longer than one
interval: most runs end long before the platform would stop anything. A run that waits for a signal holds
none, since the signal's request brings the container back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from typing import Final, Protocol

logger = logging.getLogger("agentserver")

LEASE_SECONDS: Final = 60
RENEW_SECONDS: Final = 30.0


class LeaseError(Exception):
    """The lease could not be taken, renewed or given back now; the text says why."""


class Lease(Protocol):
    """What keeps the container awake for a while."""

    async def renew(self) -> None:
        """Take it, or have it last for `LEASE_SECONDS` from now on.

        Raises:
            LeaseError: If that cannot be done now.
        """
        ...

    async def release(self) -> None:
        """Give it back; it need not be held.

        Raises:
            LeaseError: If that cannot be done now; it ends by itself.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds in this process."""
        ...


class LeaseKeeper:
    """Holds a lease while there is work.

    Args:
        lease: The lease.
        is_busy: Whether there is work now.
        every: Seconds between two looks, each of which renews.
    """

    def __init__(self, lease: Lease, is_busy: Callable[[], bool], every: float) -> None:
        self._lease = lease
        self._is_busy = is_busy
        self._every = every
        self._is_held = False
        self._has_failed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        loop = asyncio.get_running_loop()
        self._task = Context().run(loop.create_task, self._keep(), name="the lease of the container")

    async def stop(self) -> None:
        """Give the lease back and let go of it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._is_held:
            await self._try(hold=False)
        await self._lease.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            is_busy = self._is_busy()
            if is_busy or self._is_held:
                await self._try(hold=is_busy)

    async def _try(self, *, hold: bool) -> None:
        self._is_held = True  # until it is known to be given back: who is stopped meanwhile gives it back
        try:
            await (self._lease.renew() if hold else self._lease.release())
        except LeaseError as error:
            if not self._has_failed:
                logger.warning("the container may be stopped while runs work: %s", error)
            self._has_failed = True
        else:
            if self._has_failed:
                logger.warning("the lease of the container is renewed again")
            self._has_failed = False
            self._is_held = hold
