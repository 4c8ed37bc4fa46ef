"""The life of the process as requests see it: running, winding down, ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Lifetime:
    """Tells everything in flight that the server is going to end, and waits for it.

    Attributes:
        shutting_down: Set once a stop was asked for; handlers see it as ``context.shutting_down``.
        aborting: True once the time-out for requests in flight has passed and they are cancelled.
    """

    def __init__(self) -> None:
        self.shutting_down = asyncio.Event()
        self.aborting = False
        self._tasks: set[asyncio.Task[object]] = set()
        self._listeners: set[Callable[[], None]] = set()

    @property
    def active(self) -> int:
        """How many requests and connections are in flight."""
        return len(self._tasks)

    def enter(self, task: asyncio.Task[object]) -> None:
        """Count *task* as work in flight."""
        self._tasks.add(task)

    def leave(self, task: asyncio.Task[object]) -> None:
        """The work of *task* is done."""
        self._tasks.discard(task)

    def add_listener(self, listener: Callable[[], None]) -> None:
        """Have *listener* called when the drain begins; at once if it has begun."""
        if self.shutting_down.is_set():
            listener()
        else:
            self._listeners.add(listener)

    def remove_listener(self, listener: Callable[[], None]) -> None:
        """Forget *listener*; it need not be known."""
        self._listeners.discard(listener)

    def begin_shutdown(self) -> None:
        """Say that the server is going to end: readiness turns 503, handlers may wind down."""
        self.shutting_down.set()

    def begin_drain(self) -> None:
        """Tell long-lived connections to end now."""
        for listener in list(self._listeners):
            listener()
        self._listeners.clear()

    async def drain(self, timeout: float, grace: float = 5.0) -> int:
        """Wait for the work in flight, then cancel what is left.

        Args:
            timeout: Seconds to wait before cancelling.
            grace: Seconds that cancelled work has for its own cleaning up.

        Returns:
            How many were cancelled.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while self._tasks:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.wait(self._tasks, timeout=left)
            await asyncio.sleep(0)
        cancelled = list(self._tasks)
        self.aborting = True
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled, timeout=grace)
        return len(cancelled)
