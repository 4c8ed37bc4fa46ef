"""The way of an attempt's records to its engine: what comes while a write is under way is the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from time import perf_counter
from typing import Final

from agentserver.durable._engine import Engine, StoreUnavailableError
from agentserver.durable._feed import Feed
from agentserver.durable._records import Changes, End, Event, RunRecord, StepRecord

logger = logging.getLogger("agentserver")

_WAITING: Final = 256
"""Events that may wait for a write; who emits more waits too."""
_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class JournalWriter:
    """Writes for one claimed run. Nothing that was given to it is lost while the process lives.

    Args:
        engine: Where to.
        run: The run, as it was claimed.
        feed: Is told of events once they are stored.
        clock: Seconds since 1970.
        on_failure: Called when this process may no longer write the run.

    Attributes:
        on_stored: Called with the seconds that the first of some events waited until they were stored.
    """

    def __init__(
        self,
        engine: Engine,
        run: RunRecord,
        feed: Feed,
        clock: Callable[[], float],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._engine = engine
        self._run = run
        self._feed = feed
        self._clock = clock
        self._on_failure = on_failure
        self._last_event = run.last_event
        self._next = Changes(0.0, [], [])
        self._written: asyncio.Future[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._since = 0.0
        self.on_stored: Callable[[float], None] | None = None

    @property
    def name(self) -> str:
        """The run's invocation id."""
        return self._run.asked.invocation_id

    @property
    def last_event(self) -> int:
        """The id of the last event that was added."""
        return self._last_event

    def add_event(self, data: str, *, kind: str = "", origin: str | None = None) -> None:
        """Have an event written soon, after all that was added before."""
        self._last_event += 1
        if self.on_stored is not None and not self._next.events:
            self._since = perf_counter()
        self._next.events.append(Event(self._last_event, kind, data, origin))
        _ = self._write_soon()

    async def room(self) -> None:
        """Wait, if too much waits to be written."""
        if len(self._next.events) >= _WAITING:
            await asyncio.shield(self._write_soon())

    async def write(
        self, step: StepRecord | None = None, *, retries: int = 0, end: End | None = None
    ) -> None:
        """Have this and all that was added before written, and wait; who is cancelled does not undo it.

        Raises:
            DisplacedError: If this process may no longer write the run.
        """
        if step is not None:
            self._next.steps.append(step)
        self._next = self._next._replace(retries=self._next.retries + retries, end=end)
        await asyncio.shield(self._write_soon())

    async def settle(self) -> None:
        """Wait until nothing is being written."""
        while self._writing is not None:
            await asyncio.wait({self._writing})

    def abandon(self) -> None:
        """Write no more, and try no more."""
        if self._writing is not None:
            self._writing.cancel()

    def _write_soon(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._written is None:
            self._written = loop.create_future()
            self._written.add_done_callback(_retrieve)  # nobody need wait for it
        if self._writing is None:
            # In a context of its own: it outlasts the step that happens to be first.
            self._writing = Context().run(loop.create_task, self._write_all())
        return self._written

    async def _write_all(self) -> None:
        try:
            while self._written is not None:
                changes, written = self._next._replace(now=self._clock()), self._written
                self._next, self._written, since = Changes(0.0, [], []), None, self._since
                try:
                    await self._write(changes)
                # Whatever it is, the run cannot be recorded further: its attempt ends, and is said to.
                except Exception as error:  # noqa: BLE001
                    written.set_exception(error)
                    self._on_failure(error)
                else:
                    self._feed.publish(changes.events, is_over=changes.end is not None)
                    if self.on_stored is not None and changes.events:
                        self.on_stored(perf_counter() - since)
                    written.set_result(None)
        finally:
            self._writing = None

    async def _write(self, changes: Changes) -> None:
        pause = _SHORTEST_PAUSE
        name = self.name
        is_repeated = False
        while True:
            try:
                await self._engine.write(name, self._run.epoch, changes)
            except StoreUnavailableError as error:
                if not is_repeated:
                    logger.warning("the run %s waits for its store: %s", name, error)
                is_repeated = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return


def _retrieve(written: asyncio.Future[None]) -> None:
    if not written.cancelled():
        written.exception()
