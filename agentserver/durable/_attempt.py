"""One attempt of a run: its life from its first step to its end, and what others tell it meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from agentserver._time_limit import wait_for
from agentserver.durable._engine import DisplacedError, StoreUnavailableError
from agentserver.durable._records import End, Journal, Status
from agentserver.durable._steps import Steps
from agentserver.durable._values import ValueRefusedError, encode, error_of
from agentserver.durable.run import Run
from agentserver.errors import InvocationError

if TYPE_CHECKING:
    from agentserver._telemetry.run_observer import RunEnd, RunObserver

logger = logging.getLogger("agentserver")

_PAGE: Final = 500
_TRACE: Final = "traceparent"
"""The member of a run's first event, and of each ``recovered``, that names the span of that attempt."""
_QUIET: Final = 0.05
"""Seconds without a recorded step after which a cancelled run is where it was before a crash."""


class Attempt(Steps):
    """One attempt: runs once its journal is there."""

    _run_end: RunEnd | None = None

    def supersede(self) -> None:
        """Tell it that a later input waits."""
        self.is_superseded = True

    def displace(self, error: DisplacedError) -> None:
        """Tell it that another process goes on with the run."""
        if self._body is not None:  # otherwise it finds out with its first record
            self._lose(error)

    def park(self) -> None:
        """Begin no further step: the process is about to end."""
        self.is_parked = True

    async def leave(self, timeout: float) -> None:
        """Let the steps under way finish within *timeout* seconds, then go, for another process to go on."""
        self.park()
        if self._under_way:
            self._idle.clear()
            try:
                await wait_for(self._idle.wait(), timeout)
            except asyncio.TimeoutError:
                logger.info(
                    "the run %s goes on with a step that had not ended", self.record.asked.invocation_id
                )
        self._is_leaving = True
        self._end_body()

    def abandon(self) -> None:
        """Write nothing any more, what waits for the store included."""
        self._is_lost = True
        if self._has_begun:
            self._writer.abandon()

    async def run(
        self, handler: Callable[[Run, Any], Awaitable[Any]], observer: RunObserver | None = None
    ) -> None:
        """Call *handler* with the run and its input, and record how it ends; *observer* is told of it."""
        if observer is not None:
            await self._begin_observation(observer)
        self._body = asyncio.create_task(self._call_handler(handler), name="durable run")
        if self._told_to_end.is_set():
            self._body.cancel()  # it never begins
        else:
            kind = "recovered" if self.record.recoveries else "run_start"
            span = "" if self._observation is None else self._observation.traceparent
            trace = {_TRACE: span} if span else {}
            self._writer.add_event(json.dumps({**_beginning(self._journal), **trace}), kind=kind)
        watch = asyncio.create_task(self._cancel_when_quiet()) if self._is_cancel_due else None
        told = asyncio.create_task(self._told_to_end.wait())
        await asyncio.wait({self._body, told}, return_when=asyncio.FIRST_COMPLETED)
        if not self._body.done():
            await asyncio.wait({self._body}, timeout=self._durable.cancel_grace)
        for helper in (watch, told):
            if helper is not None:
                helper.cancel()
        if not self._body.done():
            logger.warning("the run %s ignores its cancellation", self.record.asked.invocation_id)
        if not self._is_lost:
            await self._record_end(self._body)
        self._is_lost = True  # what still runs of it records nothing
        await self._writer.settle()
        if self._observation is not None:
            self._observation.end(self._run_end)

    async def _begin_observation(self, observer: RunObserver) -> None:
        from agentserver._telemetry.run_observer import AttemptStart  # runs that nobody observes do not pay

        asked = self.record.asked
        earlier = await self._earlier_spans() if self.record.recoveries else []
        ids = (asked.invocation_id, asked.session_id)
        start = AttemptStart(*ids, self.headers, self.record.recoveries, earlier)
        self._observation = observer.attempt(start)
        self._writer.on_stored = self._observation.wrote

    async def _earlier_spans(self) -> list[str]:
        """The spans of the attempts before this one, as their first events name them."""
        name, after, found = self.record.asked.invocation_id, 0, list[str]()
        with contextlib.suppress(StoreUnavailableError):
            while page := await self._engine.events(name, after, _PAGE):
                begun = [json.loads(event.data) for event in page if event.kind in {"run_start", "recovered"}]
                found += [told[_TRACE] for told in begun if told.get(_TRACE)]
                after = page[-1].id
        return found

    async def _call_handler(self, handler: Callable[[Run, Any], Awaitable[Any]]) -> Any:
        if self._observation is not None:
            self._observation.enter()
        try:
            return await handler(Run(self), json.loads(self.record.asked.input))
        except SystemExit as error:
            raise RuntimeError(f"run called sys.exit({error.code!r}), which ends nothing here") from error

    async def _cancel_when_quiet(self) -> None:
        while self._is_cancel_due:
            replayed = self._replayed
            await asyncio.sleep(_QUIET)
            if replayed == self._replayed:
                self._deliver_cancel()

    async def _record_end(self, body: asyncio.Task[Any]) -> None:
        is_cut_short = not body.done() or body.cancelled()
        if self._is_leaving and is_cut_short and not self._mismatch:
            return
        status, output, error = self._outcome(body)
        now = self._clock()
        keep, keep_events = self._durable.keep, self._durable.keep_events or self._durable.keep
        ended = self.record._replace(
            status=status,
            updated=now,
            retries=self.retries,
            last_event=self._writer.last_event + 1,
            output=output,
            error=error,
        )
        told = {"type": status.value, **ended.snapshot()}
        self._writer.add_event(json.dumps(told, separators=(",", ":")), kind=status.value)
        end = End(status, output, error, now + keep.total_seconds(), now + keep_events.total_seconds())
        try:
            await self._writer.write(end=end)
        except DisplacedError:
            return
        if self._observation is not None:
            from agentserver._telemetry.run_observer import RunEnd

            code = "" if error is None else str(json.loads(error)["code"])
            self._run_end = RunEnd(status.value, self.record.asked.created, now, code, self.retries + 1)

    def _outcome(self, body: asyncio.Task[Any]) -> tuple[Status, str | None, str | None]:
        name = self.record.asked.invocation_id
        is_cut_short = not body.done() or body.cancelled()
        failure = None if is_cut_short else body.exception()
        if failure is None and not is_cut_short and not self.is_cancelled:
            left = self._journal.steps.keys() - self._asked
            recorded = [key for key in left if self._journal.steps[key].outcome is not None]
            if recorded and not self._mismatch:
                self._mismatch = f"the recorded step {recorded[0].name!r} was not called"
        if self._mismatch:
            logger.error("the run %s was begun by other code: %s", name, self._mismatch)
            return _failed("version_mismatch", f"The run was begun by other code: {self._mismatch}")
        if self.is_cancelled:
            return Status.CANCELLED, None, None
        if is_cut_short:
            logger.error("the run %s cancelled itself", name)
            return _failed("internal_error", "Internal server error")
        if failure is None:
            try:
                limit = self._durable.max_value_size
                return Status.COMPLETED, encode(body.result(), "what run returned", limit), None
            except ValueRefusedError as refused:
                failure = refused
        assert isinstance(failure, Exception)
        level = logging.INFO if isinstance(failure, InvocationError) else logging.ERROR
        logger.log(level, "the run %s failed", name, exc_info=failure)
        return Status.FAILED, None, json.dumps(error_of(failure))


def _beginning(journal: Journal) -> dict[str, Any]:
    run = journal.run
    if not run.recoveries:
        return {"type": "run_start", "attempt": run.retries + 1}
    names = [step.key.name for step in journal.steps.values() if step.outcome is not None]
    last = next((name for name in reversed(names) if not name.startswith("~")), None)
    return {
        "type": "recovered",
        "attempt": run.retries + 1,
        "recoveries": run.recoveries,
        "last_step": last,
    }


def _failed(code: str, message: str) -> tuple[Status, str | None, str | None]:
    return Status.FAILED, None, json.dumps({"code": code, "message": message})
