"""The life of the process as requests see it: running, winding down, ending.

What is in flight is a set of tasks: requests, WebSocket connections, and what handlers have spawned. At the
end they are waited for, then cancelled, then waited for a little more; what ignores that is left behind, and
said to be. Nothing here waits without end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

logger = logging.getLogger("agentserver")

T = TypeVar("T")


class Drained(NamedTuple):
    """How the work in flight ended.

    Args:
        cancelled: How many requests and connections had to be cancelled.
        cancelled_spawned: How many spawned tasks had to be.
        left: The names of those that ignored it and still run.
    """

    cancelled: int
    cancelled_spawned: int
    left: tuple[str, ...]


class Lifetime:
    """Tells everything in flight that the server is going to end, and waits for it.

    Attributes:
        shutting_down: Set once a stop was asked for; handlers see it as ``context.shutting_down``.
        aborting: True once the time-out for requests in flight has passed and they are cancelled.
        on_work: Called when something comes that somebody will work on; ``None`` while nobody asks.
    """

    def __init__(self) -> None:
        self.shutting_down = asyncio.Event()
        self.aborting = False
        self.on_work: Callable[[], object] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._spawned: set[asyncio.Task[Any]] = set()
        self._listeners: set[Callable[[], None]] = set()

    @property
    def active(self) -> int:
        """How many requests, connections and spawned tasks are in flight."""
        return len(self._tasks)

    def enter(self, task: asyncio.Task[Any]) -> None:
        """Count *task* as work in flight."""
        self._tasks.add(task)
        on_work = self.on_work  # asked for once: another thread may take it back
        if on_work is not None:
            on_work()

    def leave(self, task: asyncio.Task[Any]) -> None:
        """The work of *task* is done."""
        self._tasks.discard(task)

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start *work* that may outlast the request that starts it; its error is logged, with the ids there.

        It runs in a copy of the caller's context, and belongs to the process: no client's end cancels it.
        """
        task = asyncio.get_running_loop().create_task(_without_exit(work, name), name=name)
        self.enter(task)
        self._spawned.add(task)
        task.add_done_callback(self._spawned_ended)  # called in the caller's context too
        return task

    def _spawned_ended(self, task: asyncio.Task[Any]) -> None:
        self.leave(task)
        self._spawned.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("%s failed", task.get_name(), exc_info=error)

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

    async def drain(self, timeout: float, grace: float = 5.0) -> Drained:
        """Wait for the work in flight, then cancel what is left.

        Args:
            timeout: Seconds to wait before cancelling.
            grace: Seconds that cancelled work has for its own cleaning up.
        """
        now = asyncio.get_running_loop().time
        end = now() + timeout
        while self._tasks and now() < end:
            await _until_one_ends(self._tasks, end - now())
        self.aborting = True
        cancelled: set[asyncio.Task[Any]] = set()
        spawned = 0
        end = now() + grace
        # What is cancelled may spawn more for its cleaning up.
        while self._tasks and (self._tasks - cancelled or now() < end):
            new = self._tasks - cancelled
            spawned += len(new & self._spawned)
            cancelled |= new
            for task in new:
                task.cancel()
            await _until_one_ends(self._tasks, max(0.0, end - now()))
        left = tuple(sorted(task.get_name() for task in self._tasks))
        return Drained(len(cancelled) - spawned, spawned, left)


async def _until_one_ends(tasks: set[asyncio.Task[Any]], timeout: float) -> None:
    await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0)  # for what is called when a task is done


async def _without_exit(work: Coroutine[Any, Any, T], name: str) -> T:
    try:
        return await work
    except SystemExit as error:
        # In a task of its own this would end the loop, and with it everybody's requests.
        raise RuntimeError(f"{name} called sys.exit({error.code!r}), which ends nothing here") from error
