"""The events of a run on their way to those who read them in this process.

The writer publishes what is stored; readers take it from memory while they keep up, and from the store when
they do not. No reader makes the writer wait, and none has a buffer of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final
from weakref import WeakValueDictionary

from agentserver.durable._engine import Engine
from agentserver.durable._records import Event

_KEPT: Final = 512  # events in memory: what a reader may be late by without asking the store
_PAGE: Final = 500


class EventsGoneError(Exception):
    """The events that a reader asks for, or waits for, were purged."""


class StreamsEndError(Exception):
    """The process is about to end: who reads is to ask the next one."""


class Feed:
    """The last events of one run, and who waits for more."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_purged = False
        self.version = 0
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._waiting: set[asyncio.Future[None]] = set()

    def publish(self, events: Sequence[Event], *, is_over: bool = False) -> None:
        """Hand on stored *events*; with *is_over* they are the last."""
        self._events.extend(events)
        self.is_over = self.is_over or is_over
        self._wake()

    def purge(self) -> None:
        """Tell those who read that there is nothing any more."""
        self.is_purged = True
        self._events.clear()
        self._wake()

    def outdate(self) -> None:
        """Forget what is known: another process has written since, and the store alone knows."""
        self._events.clear()
        self._wake()

    def after(self, cursor: int) -> list[Event] | None:
        """The events above the id *cursor*; ``None`` if only the store knows them."""
        if not self._events or self._events[0].id > cursor + 1:
            return None
        newest = self._events[-1].id
        if newest <= cursor:
            return []
        return (
            [event for event in self._events if event.id > cursor]
            if newest > cursor + 1
            else [self._events[-1]]
        )

    async def changed(self, timeout: float | None) -> None:
        """Wait until something is published, *timeout* seconds at most."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        self.version += 1
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)


class Feeds:
    """The feeds of all runs that are written or read in this process.

    Args:
        engine: Where the events are.
        patience: Seconds after which a reader asks the store although nothing was said; ``None`` is never.
    """

    def __init__(self, engine: Engine, patience: float | None = None) -> None:
        self._engine = engine
        self._patience = patience
        self._feeds: WeakValueDictionary[str, Feed] = WeakValueDictionary()
        self._is_ending = False

    def end(self) -> None:
        """Send all readers away."""
        self._is_ending = True
        for feed in list(self._feeds.values()):
            feed.publish(())

    def of(self, invocation_id: str) -> Feed:
        """The feed of a run; it lasts while somebody holds it."""
        feed = self._feeds.get(invocation_id)
        if feed is None:
            feed = self._feeds[invocation_id] = Feed()
        return feed

    def purged(self, invocation_id: str) -> None:
        """Tell the readers of a run, if there are any, that its events are gone."""
        feed = self._feeds.get(invocation_id)
        if feed is not None:
            feed.purge()

    def outdated(self, invocation_id: str) -> None:
        """Tell the readers of a run, if there are any, that another process has written it."""
        feed = self._feeds.get(invocation_id)
        if feed is not None:
            feed.outdate()

    def all_outdated(self) -> None:
        """Tell all readers to ask the store."""
        for feed in list(self._feeds.values()):
            feed.outdate()

    async def follow(self, invocation_id: str, after: int) -> AsyncGenerator[Sequence[Event], None]:
        """The events of a run above the id *after*, as they come, to the last one.

        Raises:
            EventsGoneError: If they were purged, or the run was.
            StreamsEndError: If the process is about to end.
            StoreUnavailableError: If the store cannot be read now.
        """
        feed = self.of(invocation_id)  # before the store is asked: what comes meanwhile is published there
        cursor = after
        was_told = True
        while True:
            if self._is_ending:
                raise StreamsEndError
            version = feed.version
            is_outdated = feed.is_purged or not was_told
            events: Sequence[Event] | None = None if is_outdated else feed.after(cursor)
            if events is None:
                run = await self._engine.get(invocation_id)
                if run is None or not run.has_events:
                    raise EventsGoneError
                events = await self._engine.events(invocation_id, cursor, _PAGE)
                if not events and run.status.is_terminal:
                    return
            if events:
                yield events
                cursor = events[-1].id
            elif feed.is_over:
                return
            elif feed.version == version:  # nothing was published while the store was asked
                await feed.changed(self._patience)
                was_told = feed.version != version  # if not, it may have been missed
