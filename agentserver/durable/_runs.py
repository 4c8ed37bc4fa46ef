"""All runs of a handler in this process: begun, queued, cancelled, taken up after a crash, forgotten."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agentserver._telemetry.run_telemetry import RunTelemetry
from agentserver.durable._attempt import Attempt
from agentserver.durable._engine import DisplacedError, Engine, Filter, SharedEngine, StoreUnavailableError
from agentserver.durable._feed import Feeds
from agentserver.durable._records import Changes, Created, End, Event, Journal, NewRun, RunRecord, Status
from agentserver.durable.options import Durable
from agentserver.durable.run import Run
from agentserver.errors import InvocationError, TooManyRequestsError

if TYPE_CHECKING:
    from agentserver.durable._exchange import Exchange

logger = logging.getLogger("agentserver")

T = TypeVar("T")

RunHandler = Callable[[Run, Any], Awaitable[Any]]
"""Calls the user's ``run``: with the run and its input, as JSON has it."""

_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_PURGED_AT_ONCE: Final = 100
_PURGE_EVERY: Final = 30.0


class SessionBusyError(InvocationError):
    """A session takes one input at a time: 409 ``session_busy``."""

    def __init__(self) -> None:
        super().__init__("session_busy", "The session has a run in progress", status=409)


class TooManyPendingError(TooManyRequestsError):
    """So many inputs of a session wait already: 429 ``too_many_pending``."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} inputs of the session are waiting already")
        self.code = "too_many_pending"


class Runs:
    """All runs of a handler in this process.

    Args:
        durable: How they behave.
        name: What they are filed under.
        engine: Where they are stored.
        handler: Called for each attempt.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        durable: Durable,
        name: str,
        engine: Engine,
        handler: RunHandler,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.telemetry = RunTelemetry(self._counts)
        self._queued: set[str] = set()
        self.durable = durable
        self.name = name
        self.clock = clock
        self._engine = engine
        self._handler = handler
        self._attempts: dict[str, Attempt] = {}
        self._exchange: Exchange | None = None
        if isinstance(engine, SharedEngine):
            from agentserver.durable._exchange import LOOK_EVERY, Exchange  # one process alone has none

            self._feeds = Feeds(engine, LOOK_EVERY)
            self._exchange = Exchange(
                *(engine, self._feeds, self._attempts, self._launch, self._supersede),
                is_observed=lambda: self.telemetry() is not None,
            )
        else:
            self._feeds = Feeds(engine)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[Any]] = set()
        self._is_open = False
        self._is_stopping = False

    async def start(self) -> None:
        """Open the store and take up what a process before has left; if another holds it, later.

        Raises:
            ConfigurationError: If the store can never be used as it is.
        """
        try:
            await self._engine.open()
        except StoreUnavailableError as error:
            logger.warning("no run is taken before the store can be used: %s", error)
            _ = self._begin(self._open_later())
        else:
            self._is_open = True
            await self._recover()
        _ = self._begin(self._purge_repeatedly())

    async def _open_later(self) -> None:
        while not self._is_open:
            await asyncio.sleep(_LONGEST_PAUSE / 2)
            try:
                await self._engine.open()
                self._is_open = True
            except StoreUnavailableError:
                continue
        logger.warning("the store can be used now")
        await self._recover()

    def park(self) -> None:
        """Begin nothing more, neither runs nor steps: the process is about to end."""
        self._is_stopping = True
        for attempt in self._attempts.values():
            attempt.park()

    async def stop(self, timeout: float) -> None:
        """Let steps under way finish, leave the runs to another process, and close the store.

        Args:
            timeout: Seconds that the steps have.
        """
        self.park()
        attempts = list(self._attempts.values())
        await asyncio.gather(*(attempt.leave(timeout) for attempt in attempts))
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=self.durable.cancel_grace)
        for attempt in attempts:
            attempt.abandon()
        for task in [*tasks, *self._others]:
            task.cancel()
        if self._others or tasks:
            await asyncio.wait([*tasks, *self._others])
        if self._is_open:
            self._is_open = False
            await self._engine.close()

    @property
    def is_busy(self) -> bool:
        """Whether a run of this process works, and does not only wait for a signal."""
        return any(not attempt.only_waits for attempt in self._attempts.values())

    @property
    def is_open(self) -> bool:
        """Whether the store can be used."""
        return self._is_open

    # --- what clients ask for

    async def submit(self, run: NewRun) -> Created:
        """Store *run* and begin it, or join the one there is of its id or key.

        Raises:
            SessionBusyError: If the session takes one at a time.
            TooManyPendingError: If too many wait.
            StoreUnavailableError: If it cannot be stored now; nothing has happened.
        """
        # Who asks may leave, and what is stored must begin all the same.
        return await asyncio.shield(self._begin(self._submit(run)))

    async def _submit(self, run: NewRun) -> Created:
        self._check_open()
        if self._is_stopping:
            raise StoreUnavailableError("the server is shutting down")
        created = await self._engine.create(run, self._admit)
        if created.is_new and created.run.status is Status.IN_PROGRESS:
            self._launch(created.run)
        elif created.is_new:
            if self._exchange is None:  # else another process may be the one to begin it
                self._queued.add(run.invocation_id)
            if created.before is not None:
                self._supersede(created.before)
        return created

    async def cancel(self, invocation_id: str) -> RunRecord | None:
        """Have a run end; give how it then stands, ``None`` if there is none."""
        return await asyncio.shield(self._begin(self._cancel(invocation_id)))

    async def _cancel(self, invocation_id: str) -> RunRecord | None:
        self._check_open()
        run = await self._engine.cancel(invocation_id, self.clock())
        if run is None or run.status.is_terminal:
            return run
        if run.status is Status.QUEUED:
            self._launch(run)
        attempt = self._attempts.get(invocation_id)
        if attempt is not None:
            attempt.cancel()
        if run.status is Status.QUEUED and invocation_id in self._tasks:
            await asyncio.wait({self._tasks[invocation_id]})
            # Again: another process may have been the one to take it up.
            run = await self._engine.cancel(invocation_id, self.clock())
        return run

    async def signal(self, invocation_id: str, name: str, payload: str) -> bool:
        """Give a run the signal *name*; ``False`` if it has ended."""
        return await asyncio.shield(self._begin(self._signal(invocation_id, name, payload)))

    async def _signal(self, invocation_id: str, name: str, payload: str) -> bool:
        self._check_open()
        number = await self._engine.signal(invocation_id, name, payload, self.clock())
        attempt = self._attempts.get(invocation_id)
        if number is not None and attempt is not None:
            attempt.signal(name, number, payload)
        return number is not None

    async def get(self, invocation_id: str) -> RunRecord | None:
        """The run of that id."""
        self._check_open()
        return await self._engine.get(invocation_id)

    async def list(self, which: Filter) -> Sequence[RunRecord]:
        """The runs that *which* means, newest first."""
        self._check_open()
        return await self._engine.list(which)

    def follow(self, invocation_id: str, after: int) -> AsyncGenerator[Sequence[Event], None]:
        """The events of a run above the id *after*, as they come, to the last one; see `Feeds.follow`."""
        self._check_open()
        return self._feeds.follow(invocation_id, after)

    def end_streams(self) -> None:
        """Send away who follows a run: the process is about to end."""
        self._feeds.end()

    async def can_write(self) -> bool:
        """Whether the store can be written now."""
        try:
            await self._engine.probe()
        except StoreUnavailableError:
            return False
        return True

    # --- the life of runs

    def _counts(self) -> Mapping[str, int]:
        """How many runs wait, and how many are under way; of several processes each tells another part."""
        queued = len(self._queued) if self._exchange is None else self._exchange.waiting
        return {"queued": queued, "in_progress": len(self._attempts)}

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailableError("the store is not open")

    def _admit(self, running: int, waiting: int) -> Status:
        busy = self.durable.busy
        if busy == "parallel" or not running + waiting:
            return Status.IN_PROGRESS
        if busy == "reject":
            raise SessionBusyError
        if waiting >= self.durable.max_pending:
            raise TooManyPendingError(self.durable.max_pending)
        return Status.QUEUED

    def _supersede(self, invocation_id: str) -> None:
        attempt = self._attempts.get(invocation_id)
        if self.durable.busy == "steer" and attempt is not None:
            attempt.supersede()

    def _launch(self, run: RunRecord) -> None:
        name = run.asked.invocation_id
        if name in self._attempts or self._is_stopping:
            return
        feed = self._feeds.of(name)
        attempt = self._attempts[name] = Attempt(self.durable, self._engine, feed, self.clock)
        # In a context of its own: it outlasts the request that happens to begin it.
        loop = asyncio.get_running_loop()
        self._tasks[name] = Context().run(
            loop.create_task, self._live(attempt, run.asked), name=f"run {name}"
        )

    async def _live(self, attempt: Attempt, asked: NewRun) -> None:
        name = asked.invocation_id
        self._queued.discard(name)
        try:
            journal = await self._patiently(lambda: self._engine.claim(name, self.clock()))
            if journal is None:
                return
            if journal.run.stale > self.durable.max_recoveries:
                await self._give_up(journal)
                return
            attempt.begin(journal)
            if self.durable.busy == "steer":
                await self._supersede_if_others_wait(asked)
            await attempt.run(self._handler, self.telemetry())
        # One run must not keep the others from going on; what it is left as is taken up at the next start.
        except Exception:
            logger.exception("the run %s cannot go on", name)
        finally:
            del self._attempts[name]
            del self._tasks[name]
            if not self._is_stopping:
                _ = self._begin(self._go_on_with_session(asked.owner, asked.session_id))

    async def _give_up(self, journal: Journal) -> None:
        run = journal.run
        now = self.clock()
        logger.error(
            "the run %s is given up: it was taken up %d times in vain", run.asked.invocation_id, run.stale
        )
        error = '{"code":"too_many_recoveries","message":"The run has ended its process again and again"}'
        data = f'{{"type":"failed","error":{error}}}'
        expires = now + self.durable.keep.total_seconds()
        end = End(Status.FAILED, None, error, expires, expires)
        event = Event(run.last_event + 1, "failed", data)
        changes = Changes(now, [event], [], end=end)
        try:
            await self._patiently(lambda: self._engine.write(run.asked.invocation_id, run.epoch, changes))
        except DisplacedError:
            return
        self._feeds.of(run.asked.invocation_id).publish([event], is_over=True)
        observer = self.telemetry()
        if observer is not None:
            from agentserver._telemetry.run_observer import AttemptStart, RunEnd

            asked, headers = run.asked, json.loads(run.asked.headers)
            start = AttemptStart(asked.invocation_id, asked.session_id, headers, run.recoveries, ())
            observer.attempt(start).end(RunEnd("failed", asked.created, now, "too_many_recoveries"))

    async def _go_on_with_session(self, owner: str, session_id: str) -> None:
        run = await self._patiently(lambda: self._engine.next_queued(owner, session_id))
        if run is None:
            return
        self._launch(run)

    async def _supersede_if_others_wait(self, asked: NewRun) -> None:
        waiting = Filter(asked.owner, Status.QUEUED, asked.session_id, limit=1)
        if await self._patiently(lambda: self._engine.list(waiting)):
            self._supersede(asked.invocation_id)

    async def _recover(self) -> None:
        strangers: set[str] = set()
        sessions: dict[tuple[str, str], None] = {}
        for run in await self._patiently(self._engine.unfinished):
            if run.asked.handler != self.name:
                strangers.add(run.asked.handler)
            elif self._exchange is not None:
                continue  # another process may have it
            elif run.status is Status.IN_PROGRESS:
                self._launch(run)
            else:
                self._queued.add(run.asked.invocation_id)
                sessions[run.asked.owner, run.asked.session_id] = None
        for owner, session_id in sessions:
            await self._go_on_with_session(owner, session_id)
        if self._exchange is not None:
            _ = self._begin(self._exchange.attend(self.name))
        for stranger in sorted(strangers):
            logger.error(
                "the store has unfinished runs of %s, and this agent is %s: they are left alone. If the"
                " handler was renamed, write durable=Durable(name=%r)",
                stranger,
                self.name,
                stranger,
            )

    async def _purge_repeatedly(self) -> None:
        kept = min(self.durable.keep, self.durable.keep_events or self.durable.keep)
        while True:
            await asyncio.sleep(max(_SHORTEST_PAUSE, min(_PURGE_EVERY, kept.total_seconds() / 4)))
            if self._is_open:
                await self._purge()

    async def _purge(self) -> None:
        purged: Sequence[str] = [""] * _PURGED_AT_ONCE
        while len(purged) == _PURGED_AT_ONCE:
            purged = await self._patiently(lambda: self._engine.purge(self.clock(), _PURGED_AT_ONCE))
            for invocation_id in purged:
                self._feeds.purged(invocation_id)

    async def _patiently(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Ask the engine until it can answer."""
        pause = _SHORTEST_PAUSE
        while True:
            try:
                return await ask()
            except StoreUnavailableError as error:
                if pause == _SHORTEST_PAUSE:
                    logger.warning("the store is waited for: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = Context().run(asyncio.get_running_loop().create_task, work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        return task
