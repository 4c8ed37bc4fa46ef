"""What a handler does in a run, on top of what the attempts before have recorded.

A step is known by its name and how often that name was used before, so parallel steps may come in any order.
What the run itself calls, one after another, must come in the recorded order: otherwise the code is not the
one that has begun the run, and going on could do again what is done. An emission is known by the step it
follows and its number after that.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NoReturn

from agentserver._time_limit import wait_for
from agentserver.durable._engine import DisplacedError, Engine
from agentserver.durable._feed import Feed
from agentserver.durable._journal import JournalWriter
from agentserver.durable._records import Journal, RunRecord, StepKey, StepRecord
from agentserver.durable._values import ValueRefusedError, decode_outcome, encode, encode_failure
from agentserver.durable.options import Durable
from agentserver.errors import InvocationError

if TYPE_CHECKING:
    from agentserver._telemetry.run_observer import AttemptObservation, StepObservation

logger = logging.getLogger("agentserver")

_NAME_LENGTH: Final = 256

# The step that the running task has finished last, and the one that it is in.
_after: ContextVar[StepKey | None] = ContextVar("agentserver_after_step", default=None)
_inside: ContextVar[StepKey | None] = ContextVar("agentserver_inside_step", default=None)


class Steps:
    """The steps and emissions of one attempt. It can be told things before its journal is there.

    Args:
        durable: How the run behaves.
        engine: Where it is stored.
        feed: Who is told of its events.
        clock: Seconds since 1970.
    """

    def __init__(self, durable: Durable, engine: Engine, feed: Feed, clock: Callable[[], float]) -> None:
        self._durable = durable
        self._engine = engine
        self._feed = feed
        self._clock = clock
        self.is_superseded = False
        self.is_cancelled = False
        self.is_parked = False
        self._is_leaving = False
        self._is_cancel_due = False
        self._is_lost = False
        self._has_begun = False
        self._mismatch = ""
        self._body: asyncio.Task[Any] | None = None
        self._told_to_end = asyncio.Event()
        self._uses: Counter[str] = Counter()
        self._emitted: Counter[StepKey | None] = Counter()
        self._asked: set[StepKey] = set()
        self._position = 0
        self._replayed = 0
        self._under_way = 0
        self._waiting = 0
        self._idle = asyncio.Event()
        self._signals: dict[tuple[str, int], str] = {}
        self._signalled = asyncio.Event()
        self._observation: AttemptObservation | None = None
        self._observed: dict[StepKey, StepObservation] = {}

    def begin(self, journal: Journal) -> None:
        """Take up the records of the attempts before this one."""
        self._journal = journal
        self.record: RunRecord = journal.run
        self.headers: Mapping[str, str] = json.loads(journal.run.asked.headers)
        self.retries = journal.run.retries
        self._places = {
            step.position: step.key for step in journal.steps.values() if step.position is not None
        }
        for name, payloads in journal.signals.items():
            for number, payload in enumerate(payloads):
                self.signal(name, number, payload)
        self._is_cancel_due = journal.run.is_cancelled and not self.is_cancelled
        self._writer = JournalWriter(self._engine, self.record, self._feed, self._clock, self._lose)
        self._has_begun = True

    @property
    def only_waits(self) -> bool:
        """Whether it does nothing but wait for a signal."""
        return bool(self._waiting) and not self._under_way

    def cancel(self) -> None:
        """End it: what it awaits is cancelled, and it may clean up."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._end_body()

    def signal(self, name: str, number: int, payload: str) -> None:
        """Give it the signal *number* of that name, from 0."""
        self._signals[name, number] = payload
        self._signalled.set()

    def _lose(self, error: BaseException) -> None:
        if not self._is_lost:
            self._is_lost = True
            why = error if isinstance(error, DisplacedError) else None
            logger.error(
                "the run %s cannot be recorded further%s",
                self.record.asked.invocation_id,
                f": {why}" if why else "",
                exc_info=None if why else error,
            )
            self._end_body()

    def _end_body(self) -> None:
        self._told_to_end.set()
        if self._body is not None:
            self._body.cancel()

    def _deliver_cancel(self) -> None:
        if self._is_cancel_due:
            self._is_cancel_due = False
            self.cancel()

    def step_key(self) -> str:
        """The key of the step that the caller is in."""
        key = _inside.get()
        if key is None:
            raise RuntimeError("step_key is for use inside a step: read it in the function that step calls")
        return f"{self.record.asked.invocation_id}:{key.use}:{key.name}"

    async def step(
        self,
        key: StepKey,
        function: Callable[..., Any],
        *,
        retries: int | None = None,
        timeout: float | None = None,
        waits: bool = False,
    ) -> Any:
        """Give the result that is recorded of the step *key*, or call *function* and record it."""
        if _inside.get() is not None:
            raise RuntimeError(
                f"the step {key.name!r} was called inside another step: steps do not nest, call it from run"
            )
        self._asked.add(key)
        position = await self._take_place(key)
        known = self._journal.steps.get(key)
        if known is not None and known.outcome is not None:
            self._replayed += 1
            outcome = known.outcome
        else:
            await self._may_go_on()
            self._under_way += not waits
            self._waiting += waits
            self._observe(key)
            try:
                failures = 0 if known is None else known.failures
                limit = self._durable.retries if retries is None else retries
                done = await self._carry_out(key, function, failures, limit, timeout)
                await self._writer.write(done._replace(position=position))
                assert done.outcome is not None
                outcome = done.outcome
            finally:
                if (observed := self._observed.pop(key, None)) is not None:
                    observed.end()
                self._under_way -= not waits
                self._waiting -= waits
                if not self._under_way:
                    self._idle.set()
        _after.set(key)
        return decode_outcome(key.name, outcome)

    def use(self, name: str) -> StepKey:
        """The key of the next use of *name*."""
        number = self._uses[name]
        self._uses[name] += 1
        return StepKey(name, number)

    def named(self, name: str) -> StepKey:
        """The key of the next step that the handler calls *name*."""
        # No store keeps half of a character, and PostgreSQL none that is zero.
        if not 0 < len(name) <= _NAME_LENGTH or name.startswith("~") or not name.isprintable():
            raise ValueError(
                f"the name of a step is {name!r}, but it must be a text of 1 to {_NAME_LENGTH} printable"
                " characters that does not begin with ~"
            )
        return self.use(name)

    async def _take_place(self, key: StepKey) -> int | None:
        if asyncio.current_task() is not self._body:
            return None
        position = self._position
        self._position += 1
        recorded = self._places.get(position)
        if recorded is not None and recorded != key and not self._mismatch:
            self._mismatch = f"it calls the step {key.name!r} where {recorded.name!r} is recorded"
            self._end_body()
        return position

    async def _may_go_on(self) -> None:
        """Return if what the run is about to do may be done; otherwise never."""
        if self._is_leaving or self._is_lost or self._mismatch:
            raise asyncio.CancelledError
        if self._is_cancel_due:
            self._deliver_cancel()
            await self._forever()
        if self.is_parked:
            await self._forever()

    async def _forever(self) -> NoReturn:
        await asyncio.get_running_loop().create_future()
        raise asyncio.CancelledError

    async def _carry_out(
        self,
        key: StepKey,
        function: Callable[..., Any],
        failures: int,
        retries: int,
        timeout: float | None,
    ) -> StepRecord:
        while True:
            try:
                value = await wait_for(_call(key, function), timeout)
                what = f"the result of the step {key.name!r}"
                outcome = encode({"v": value}, what, self._durable.max_value_size, objects=False)
            # The boundary of user code: what it raises is recorded, or tried again.
            except Exception as error:  # noqa: BLE001
                failures += 1
                is_final = isinstance(error, (InvocationError, ValueRefusedError)) or failures > retries
                self._log_failure(key, failures, error, is_final=is_final)
                if is_final:
                    return StepRecord(key, encode_failure(error), failures)
                await self._retry(key, failures)
            else:
                return StepRecord(key, outcome, failures)

    def _observe(self, key: StepKey) -> None:
        if self._observation is not None and not key.name.startswith("~"):
            self._observed[key] = self._observation.step(key.name, key.use)

    def _log_failure(self, key: StepKey, failures: int, error: Exception, *, is_final: bool) -> None:
        if key in self._observed:
            self._observed[key].failed(error, is_final=is_final)
        if isinstance(error, InvocationError) or key.name.startswith("~"):
            return
        then = "is given up" if is_final else "is tried again"
        logger.warning("the step %s failed %d times and %s", key.name, failures, then, exc_info=error)

    async def _retry(self, key: StepKey, failures: int) -> None:
        pause = self._durable.pause(failures)
        told = {"type": "step_retry", "step": key.name, "use": key.use, "failures": failures, "delay": pause}
        self._writer.add_event(json.dumps(told), kind="step_retry")
        await self._writer.write(StepRecord(key, None, failures), retries=1)
        self.retries += 1
        await asyncio.sleep(pause)
        await self._may_go_on()

    async def emit(self, event: Any) -> None:
        """Add *event*, unless it is one that an attempt before has added."""
        try:
            data = encode(event, "an event", self._durable.max_value_size)
        except ValueRefusedError as refused:
            raise ValueError(str(refused)) from None
        origin = None
        if _inside.get() is None:
            after = _after.get()
            number = self._emitted[after]
            self._emitted[after] += 1
            origin = f"{number}" if after is None else f"{number}:{after.use}:{after.name}"
            if origin in self._journal.origins:
                return
        if not self._is_lost:
            self._writer.add_event(data, origin=origin)
            await self._writer.room()

    async def sleep(self, seconds: float) -> None:
        """Wait until *seconds* after the first attempt asked for it."""
        until = await self.step(self.use("~sleep"), lambda: self._clock() + seconds, retries=0)
        # A clock that was set back must not make it longer.
        left = min(until - self._clock(), seconds)
        if left > 0:
            await self._may_go_on()
            await asyncio.sleep(left)

    async def wait_for(self, name: str, timeout: float | None) -> Any:
        """Give what comes with the next signal *name*."""
        left: float | None = None
        if timeout is not None:
            until = await self.step(self.use(f"~until {name}"), lambda: self._clock() + timeout, retries=0)
            left = max(0.0, min(until - self._clock(), timeout))
        key = self.use(f"~signal {name}")
        return await self.step(
            key, lambda: self._signal_of(name, key.use), retries=0, timeout=left, waits=True
        )

    async def _signal_of(self, name: str, number: int) -> Any:
        while (name, number) not in self._signals:
            self._signalled.clear()
            await self._signalled.wait()
        return json.loads(self._signals[name, number])


async def _call(key: StepKey, function: Callable[..., Any]) -> Any:
    token = _inside.set(key)
    try:
        if inspect.iscoroutinefunction(function):
            return await function()
        result = function() if key.name.startswith("~") else await asyncio.to_thread(function)
        return await result if inspect.isawaitable(result) else result
    except SystemExit as error:
        raise RuntimeError(f"a step called sys.exit({error.code!r}), which ends nothing here") from error
    finally:
        _inside.reset(token)
