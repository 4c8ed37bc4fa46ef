"""What other processes do to the runs of this one, and what they leave for it to take up."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from typing import Final

from agentserver.durable._attempt import Attempt
from agentserver.durable._bell import Bell
from agentserver.durable._engine import DisplacedError, News, SharedEngine, StoreUnavailableError
from agentserver.durable._feed import Feeds
from agentserver.durable._records import RunRecord

logger = logging.getLogger("agentserver")

LOOK_EVERY: Final = 1.0
"""Seconds after which it looks for what was left, although nobody said so."""
TAKEN_AT_ONCE: Final = 16
"""Runs: some for each who looks."""


class Exchange:
    """Listens for one handler's runs.

    Args:
        engine: Where it listens.
        feeds: Those who read in this process.
        attempts: What is carried out in this process, by id.
        launch: Takes up a run.
        supersede: Tells a run that a later input waits.
        is_observed: Whether somebody wants to know how many wait.

    Attributes:
        waiting: How many wait for runs of this process, as it was within the last second.
    """

    def __init__(
        self,
        engine: SharedEngine,
        feeds: Feeds,
        attempts: Mapping[str, Attempt],
        launch: Callable[[RunRecord], None],
        supersede: Callable[[str], None],
        *,
        is_observed: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._feeds = feeds
        self._attempts = attempts
        self._launch = launch
        self._supersede = supersede
        self._is_observed = is_observed
        self.waiting = 0
        self._counted = -math.inf
        self._unheard: dict[str, None] = {}
        self._bell = Bell()
        engine.listen(self.told)

    def told(self, kind: News, name: str) -> None:
        """Take in what another process has done."""
        attempt = self._attempts.get(name)
        if kind is News.EVENTS:
            self._feeds.outdated(name)
        elif kind is News.SUPERSEDED:
            self._supersede(name)
        elif kind is News.CANCELLED and attempt is not None:
            attempt.cancel()
        elif kind is News.SIGNALLED and attempt is not None:
            self._unheard[name] = None
        elif kind is News.DISPLACED:
            for displaced in list(self._attempts.values()):
                displaced.displace(DisplacedError("this process was taken for dead"))
        elif kind is News.MISSED:
            self._feeds.all_outdated()
            self._unheard.update(dict.fromkeys(self._attempts))
        self._bell.ring()

    async def attend(self, handler: str) -> None:
        """Hear what is to be looked up, and take up what was left, until cancelled."""
        while True:
            try:
                while self._unheard:
                    await self._look_up(next(iter(self._unheard)))
                for run in await self._engine.abandoned(handler, TAKEN_AT_ONCE):
                    self._launch(run)
                await self._count(handler)
            except StoreUnavailableError:
                await asyncio.sleep(LOOK_EVERY)
            # The runs of the dead must be taken up, whatever went wrong with one of them.
            except Exception:
                logger.exception("what other processes have left cannot be taken up")
                await asyncio.sleep(LOOK_EVERY)
            await self._bell.wait(LOOK_EVERY)

    async def _count(self, handler: str) -> None:
        now = asyncio.get_running_loop().time()
        if self._is_observed() and now >= self._counted + LOOK_EVERY:
            self.waiting = await self._engine.waiting(handler)
            self._counted = now

    async def _look_up(self, name: str) -> None:
        """Give an attempt the cancel and the signals that the store has for it."""
        run = await self._engine.get(name)
        signals = await self._engine.signals(name)
        self._unheard.pop(name, None)
        attempt = self._attempts.get(name)
        if attempt is None or run is None:
            return
        for signal, payloads in signals.items():
            for number, payload in enumerate(payloads):
                attempt.signal(signal, number, payload)
        if run.is_cancelled:
            attempt.cancel()
