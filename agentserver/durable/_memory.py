"""The engine in memory: for tests, and the specification of the others. It forgets with its process."""

from __future__ import annotations

from collections.abc import Sequence

from agentserver.durable._engine import Admit, DisplacedError, Filter
from agentserver.durable._records import (
    Changes,
    Created,
    End,
    Event,
    Journal,
    NewRun,
    RunRecord,
    Status,
    StepKey,
    StepRecord,
)


class _Run:
    """A run and all that belongs to it."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.steps: dict[StepKey, StepRecord] = {}
        self.events: list[Event] = []
        self.signals: dict[str, list[str]] = {}
        self.end: End | None = None


class MemoryEngine:
    """Keeps runs in a dictionary; see `Engine`."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """Keep the runs: who opens this again goes on with them, as a test of a restart does."""

    async def probe(self) -> None:
        """There is always room."""

    async def create(self, run: NewRun, admit: Admit) -> Created:
        """See `Engine.create`."""
        for known in self._runs.values():
            asked = known.record.asked
            by_key = run.key is not None and (asked.owner, asked.key) == (run.owner, run.key)
            if by_key or asked.invocation_id == run.invocation_id:
                return Created(known.record, is_new=False)
        running = self._of_session(run, Status.IN_PROGRESS)
        waiting = self._of_session(run, Status.QUEUED)
        record = RunRecord(run, admit(len(running), len(waiting)), run.created)
        self._runs[run.invocation_id] = _Run(record)
        before = running[0].record.asked.invocation_id if running else None
        return Created(record, is_new=True, position=len(running) + len(waiting), before=before)

    async def claim(self, invocation_id: str, now: float) -> Journal | None:
        """See `Engine.claim`."""
        run = self._runs.get(invocation_id)
        if run is None or run.record.status.is_terminal:
            return None
        known = run.record
        again = int(known.epoch > 0)
        run.record = known._replace(
            status=Status.IN_PROGRESS,
            updated=now,
            epoch=known.epoch + 1,
            recoveries=known.recoveries + again,
            stale=known.stale + again,
        )
        origins = frozenset(event.origin for event in run.events if event.origin is not None)
        signals = {name: list(payloads) for name, payloads in run.signals.items()}
        return Journal(run.record, dict(run.steps), origins, signals)

    async def write(self, invocation_id: str, epoch: int, changes: Changes) -> None:
        """See `Engine.write`."""
        run = self._runs.get(invocation_id)
        if run is None or run.record.epoch != epoch or run.record.status is not Status.IN_PROGRESS:
            raise DisplacedError(f"the run {invocation_id} is somebody else's")
        for step in changes.steps:
            run.steps[step.key] = step
        run.events += changes.events
        known = run.record
        is_progress = bool(changes.steps) or any(not event.kind for event in changes.events)
        run.record = known._replace(
            updated=changes.now,
            retries=known.retries + changes.retries,
            stale=0 if is_progress else known.stale,
            last_event=changes.events[-1].id if changes.events else known.last_event,
        )
        if changes.end is not None:
            run.end = end = changes.end
            run.record = run.record._replace(status=end.status, output=end.output, error=end.error)

    async def cancel(self, invocation_id: str, now: float) -> RunRecord | None:
        """See `Engine.cancel`."""
        run = self._runs.get(invocation_id)
        if run is None:
            return None
        if run.record.status is Status.IN_PROGRESS and not run.record.is_cancelled:
            run.record = run.record._replace(is_cancelled=True, updated=now)
        return run.record

    async def signal(self, invocation_id: str, name: str, payload: str, now: float) -> int | None:
        """See `Engine.signal`."""
        run = self._runs.get(invocation_id)
        if run is None or run.record.status.is_terminal:
            return None
        run.record = run.record._replace(updated=now)
        signals = run.signals.setdefault(name, [])
        signals.append(payload)
        return len(signals) - 1

    async def get(self, invocation_id: str) -> RunRecord | None:
        """See `Engine.get`."""
        run = self._runs.get(invocation_id)
        return None if run is None else run.record

    async def list(self, which: Filter) -> Sequence[RunRecord]:
        """See `Engine.list`."""
        records = [run.record for run in reversed(self._runs.values())]
        if which.before is not None:
            ids = [record.asked.invocation_id for record in records]
            records = records[ids.index(which.before) + 1 :] if which.before in ids else []
        chosen = [
            record
            for record in records
            if which.owner in {None, record.asked.owner}
            and which.status in {None, record.status}
            and which.session_id in {None, record.asked.session_id}
        ]
        return chosen[: which.limit]

    async def events(self, invocation_id: str, after: int, limit: int) -> Sequence[Event]:
        """See `Engine.events`."""
        run = self._runs.get(invocation_id)
        return [] if run is None else [event for event in run.events if event.id > after][:limit]

    async def unfinished(self) -> Sequence[RunRecord]:
        """See `Engine.unfinished`."""
        return [run.record for run in self._runs.values() if not run.record.status.is_terminal]

    async def next_queued(self, owner: str, session_id: str) -> RunRecord | None:
        """See `Engine.next_queued`."""
        of_session = [
            record
            for record in await self.unfinished()
            if (record.asked.owner, record.asked.session_id) == (owner, session_id)
        ]
        if not of_session or any(record.status is Status.IN_PROGRESS for record in of_session):
            return None
        return of_session[0]

    async def purge(self, now: float, limit: int) -> Sequence[str]:
        """See `Engine.purge`."""
        ended = [(name, run, run.end) for name, run in self._runs.items() if run.end is not None]
        expired = [name for name, _, end in ended if end.expires <= now][:limit]
        for name in expired:
            del self._runs[name]
        emptied = [
            name for name, run, end in ended if run.events and end.events_expire <= now and name in self._runs
        ][: limit - len(expired)]
        for name in emptied:
            self._runs[name].events.clear()
            self._runs[name].record = self._runs[name].record._replace(has_events=False)
        return expired + emptied

    def _of_session(self, run: NewRun, status: Status) -> Sequence[_Run]:
        return [
            known
            for known in self._runs.values()
            if known.record.status is status
            and (known.record.asked.owner, known.record.asked.session_id) == (run.owner, run.session_id)
        ]
