"""The engine in a PostgreSQL database: for several processes at once, which go on with each other's runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from agentserver.durable._engine import Admit, DisplacedError, Filter, News, StoreUnavailableError
from agentserver.durable._postgres_database import Address, Connection, Database, is_duplicate
from agentserver.durable._postgres_replica import Replica, Told
from agentserver.durable._records import (
    Changes,
    Created,
    Event,
    Journal,
    NewRun,
    RunRecord,
    Status,
    StepKey,
    StepRecord,
)
from agentserver.durable._rows import ASKED, COLUMNS, UNFINISHED, record_of

T = TypeVar("T")

_ALL: Final = f"SELECT {COLUMNS} FROM runs"
_SIZE: Final = len(NewRun._fields)
_INSERT: Final = (
    f"INSERT INTO runs ({ASKED}, status, updated, holder)"
    f" VALUES ({', '.join(f'${number + 1}' for number in range(_SIZE + 3))})"
)
# Whom nobody living has; a replica without a row is dead.
_FREE: Final = "(holder IS NULL OR NOT EXISTS (SELECT FROM replicas WHERE id = holder))"
_CLAIM: Final = f"""
UPDATE runs SET status = 'in_progress', updated = $2, epoch = epoch + 1, holder = $3,
    recoveries = recoveries + (epoch > 0 AND holder IS DISTINCT FROM $3)::integer,
    stale = stale + (epoch > 0 AND holder IS DISTINCT FROM $3)::integer
WHERE invocation_id = $1 AND {UNFINISHED} AND ({_FREE} OR holder = $3)
RETURNING {COLUMNS}, number
"""
# One statement, so one transaction and one journey. It may come twice, if the connection broke before the
# answer: then its events are there, and its end.
_WRITE: Final = """
WITH run AS (
    UPDATE runs SET updated = $3, last_event = greatest(last_event, $6),
        retries = retries + CASE WHEN $6 > last_event OR $6 = 0 THEN $4 ELSE 0 END,
        stale = CASE WHEN $5 THEN 0 ELSE stale END,
        status = coalesce($16, status), output = $17, error = $18, expires = $19, events_expire = $20
    WHERE invocation_id = $1 AND epoch = $2 AND status = 'in_progress'
    RETURNING number
), events_written AS (
    INSERT INTO events (run, id, kind, data, origin)
    SELECT number, new.* FROM run, unnest($7::bigint[], $8::text[], $9::text[], $10::text[]) AS new
    ON CONFLICT DO NOTHING
), steps_written AS (
    INSERT INTO steps (run, name, use, outcome, failures, position)
    SELECT number, new.name, new.use, new.outcome, new.failures, new.position FROM run,
        unnest($11::text[], $12::integer[], $13::text[], $14::integer[], $15::integer[]) WITH ORDINALITY
        AS new (name, use, outcome, failures, position, place)
    ORDER BY new.place
    ON CONFLICT (run, name, use) DO UPDATE SET outcome = excluded.outcome, failures = excluded.failures,
        position = excluded.position, recorded = excluded.recorded
)
SELECT number FROM run
"""
_IS_WRITTEN: Final = """
SELECT EXISTS (SELECT FROM runs WHERE invocation_id = $1 AND epoch = $2 AND last_event = $3 AND status = $4)
"""
_PURGE: Final = """
WITH gone AS (
    DELETE FROM runs WHERE number IN (
        SELECT number FROM runs WHERE expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING number, invocation_id
), no_events AS (DELETE FROM events WHERE run IN (SELECT number FROM gone)),
no_steps AS (DELETE FROM steps WHERE run IN (SELECT number FROM gone)),
no_signals AS (DELETE FROM signals WHERE run IN (SELECT number FROM gone))
SELECT invocation_id FROM gone
"""
_EMPTY: Final = """
WITH emptied AS (
    UPDATE runs SET has_events = false WHERE number IN (
        SELECT number FROM runs WHERE events_expire <= $1 AND has_events
        ORDER BY events_expire LIMIT $2 FOR UPDATE SKIP LOCKED
    ) RETURNING number, invocation_id
), no_events AS (DELETE FROM events WHERE run IN (SELECT number FROM emptied))
SELECT invocation_id FROM emptied
"""
# In progress in nobody's hands, or the first that waits of a session in which nothing is in progress.
_ABANDONED: Final = f"""
SELECT {COLUMNS} FROM runs WHERE handler = $1 AND {UNFINISHED} AND (
    (status = 'in_progress' AND ({_FREE} OR (holder = $2 AND epoch = 0)))
    OR (status = 'queued' AND NOT EXISTS (
        SELECT FROM runs AS other WHERE other.owner = runs.owner AND other.session_id = runs.session_id
          AND other.status IN ('queued', 'in_progress')
          AND (other.status = 'in_progress' OR other.number < runs.number)
    ))
) ORDER BY random() LIMIT $3
"""
_WAITING: Final = """
SELECT count(*) FROM runs WHERE handler = $1 AND status = 'queued' AND EXISTS (
    SELECT FROM runs AS other WHERE other.owner = runs.owner AND other.session_id = runs.session_id
      AND other.status = 'in_progress' AND other.holder = $2
)
"""


class PostgresEngine:
    """Keeps runs in a database; see `Engine` and `SharedEngine`.

    Args:
        address: Where it is.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._database = Database(address)
        self._replica: Replica | None = None
        self._told: Told = _hear_nothing

    def listen(self, told: Callable[[News, str], None]) -> None:
        """See `SharedEngine.listen`."""
        self._told = told

    async def open(self) -> None:
        """See `Engine.open`."""
        await self._database.open()
        replica = Replica(self._address, self._database, self._told)
        try:
            await replica.open()
        except BaseException:
            await self._database.close()
            raise
        self._replica = replica

    async def close(self) -> None:
        """See `Engine.close`."""
        replica, self._replica = self._replica, None
        if replica is not None:
            await replica.close()
            await self._database.close()

    @property
    def _here(self) -> Replica:
        if self._replica is None:
            raise StoreUnavailableError("the store is not open")
        return self._replica

    async def _rows(self, query: str, *values: Any) -> Sequence[Sequence[Any]]:
        async with self._database.connection() as connection:
            return await connection.fetch(query, *values)

    async def _one(self, query: str, *values: Any) -> RunRecord | None:
        rows = await self._rows(query, *values)
        return record_of(rows[0]) if rows else None

    async def probe(self) -> None:
        """See `Engine.probe`."""
        _ = await self._rows("UPDATE store SET probed = extract(epoch FROM now())")

    async def create(self, run: NewRun, admit: Admit) -> Created:
        """See `Engine.create`."""
        while True:
            try:
                async with self._database.connection() as connection, connection.transaction():
                    return await self._create(connection, run, admit)
            except Exception as error:
                # Another process has just created one of the same id or key: it is there now.
                if not is_duplicate(error):
                    raise

    async def _create(self, connection: Connection, run: NewRun, admit: Admit) -> Created:
        # One at a time of a session; and, by the shared locks, none while one of it ends.
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{run.owner} {run.session_id}"
        )
        known = await connection.fetchrow(
            f"{_ALL} WHERE invocation_id = $1 OR (owner = $2 AND key = $3)"
            " ORDER BY invocation_id <> $1 LIMIT 1",
            *(run.invocation_id, run.owner, run.key),
        )
        if known is not None:
            return Created(record_of(known), is_new=False)
        rows = await connection.fetch(
            f"SELECT status, invocation_id FROM runs WHERE owner = $1 AND session_id = $2 AND {UNFINISHED}"
            " ORDER BY number FOR SHARE",
            *(run.owner, run.session_id),
        )
        running = [name for status, name in rows if status == Status.IN_PROGRESS.value]
        status = admit(len(running), len(rows) - len(running))
        holder = self._here.id if status is Status.IN_PROGRESS else None
        await connection.execute(_INSERT, *run, status.value, run.created, holder)
        before = str(running[0]) if running else None
        if before is not None and status is Status.QUEUED:
            await self._tell(connection, News.SUPERSEDED, before)
        record = RunRecord(run, status, run.created)
        return Created(record, is_new=True, position=len(rows), before=before)

    async def _tell(self, connection: Connection, kind: News, name: str) -> None:
        await connection.execute("SELECT pg_notify($1, $2)", *self._here.news(kind, name))

    async def claim(self, invocation_id: str, now: float) -> Journal | None:
        """See `Engine.claim`."""
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(_CLAIM, invocation_id, now, self._here.id)
            if row is None:
                return None
            run, number = record_of(row), row[-1]
            signals = await _signals(connection, number)
            if run.epoch == 1:
                return Journal(run, {}, frozenset(), signals)
            steps = await connection.fetch(
                "SELECT name, use, outcome, failures, position FROM steps WHERE run = $1 ORDER BY recorded",
                number,
            )
            origins = await connection.fetch(
                "SELECT origin FROM events WHERE run = $1 AND origin IS NOT NULL", number
            )
        records = [StepRecord(StepKey(name, use), *rest) for name, use, *rest in steps]
        known = {step.key: step for step in records}
        return Journal(run, known, frozenset(row[0] for row in origins), signals)

    async def write(self, invocation_id: str, epoch: int, changes: Changes) -> None:
        """See `Engine.write`."""
        last_event = changes.events[-1].id if changes.events else 0
        is_progress = bool(changes.steps) or any(not event.kind for event in changes.events)
        steps = list({step.key: step for step in changes.steps}.values())
        end = changes.end
        values = (
            *(invocation_id, epoch, changes.now, changes.retries, is_progress, last_event),
            *_columns(changes.events, 4),
            *_columns([(*step.key, *step[1:]) for step in steps], 5),
            *((None,) * 5 if end is None else (end.status.value, *end[1:])),
        )
        async with self._database.connection() as connection:
            if not await connection.fetch(_WRITE, *values):
                is_written = end is not None and await connection.fetchval(
                    _IS_WRITTEN, invocation_id, epoch, last_event, end.status.value
                )
                if not is_written:
                    raise DisplacedError(f"the run {invocation_id} is somebody else's")
        if changes.events and self._here.has_others:
            self._here.say([(News.EVENTS, invocation_id)])

    async def cancel(self, invocation_id: str, now: float) -> RunRecord | None:
        """See `Engine.cancel`."""
        async with self._database.connection() as connection, connection.transaction():
            row = await connection.fetchrow(
                "UPDATE runs SET is_cancelled = true, updated = $2 WHERE invocation_id = $1"
                f" AND status = 'in_progress' AND NOT is_cancelled RETURNING {COLUMNS}",
                *(invocation_id, now),
            )
            if row is not None:
                await self._tell(connection, News.CANCELLED, invocation_id)
                return record_of(row)
        return await self.get(invocation_id)

    async def signal(self, invocation_id: str, name: str, payload: str, now: float) -> int | None:
        """See `Engine.signal`."""
        async with self._database.connection() as connection, connection.transaction():
            number = await connection.fetchval(
                f"UPDATE runs SET updated = $2 WHERE invocation_id = $1 AND {UNFINISHED} RETURNING number",
                *(invocation_id, now),
            )
            if number is None:
                return None
            known = await connection.fetchval(
                "INSERT INTO signals (run, name, number, payload)"
                " SELECT $1, $2, count(*), $3 FROM signals WHERE run = $1 AND name = $2 RETURNING number",
                *(number, name, payload),
            )
            await self._tell(connection, News.SIGNALLED, invocation_id)
            return int(known)

    async def signals(self, invocation_id: str) -> Mapping[str, Sequence[str]]:
        """See `SharedEngine.signals`."""
        async with self._database.connection() as connection:
            number = await connection.fetchval(
                "SELECT number FROM runs WHERE invocation_id = $1", invocation_id
            )
            return await _signals(connection, number)

    async def get(self, invocation_id: str) -> RunRecord | None:
        """See `Engine.get`."""
        return await self._one(f"{_ALL} WHERE invocation_id = $1", invocation_id)

    async def list(self, which: Filter) -> Sequence[RunRecord]:
        """See `Engine.list`."""
        conditions = {
            "owner = ": which.owner,
            "status = ": None if which.status is None else which.status.value,
            "session_id = ": which.session_id,
            "number < (SELECT number FROM runs WHERE invocation_id = ": which.before,
        }
        asked = {condition: value for condition, value in conditions.items() if value is not None}
        texts = [
            f"{condition}${number}" + ")" * condition.count("(")
            for number, condition in enumerate(asked, start=2)
        ]
        where = f"WHERE {' AND '.join(texts)}" if texts else ""
        query = f"{_ALL} {where} ORDER BY number DESC LIMIT $1"
        return [record_of(row) for row in await self._rows(query, which.limit, *asked.values())]

    async def events(self, invocation_id: str, after: int, limit: int) -> Sequence[Event]:
        """See `Engine.events`."""
        query = (
            "SELECT id, kind, data, origin FROM events"
            " WHERE run = (SELECT number FROM runs WHERE invocation_id = $1) AND id > $2 ORDER BY id LIMIT $3"
        )
        return [Event(*row) for row in await self._rows(query, invocation_id, after, limit)]

    async def unfinished(self) -> Sequence[RunRecord]:
        """See `Engine.unfinished`."""
        return [record_of(row) for row in await self._rows(f"{_ALL} WHERE {UNFINISHED} ORDER BY number")]

    async def abandoned(self, handler: str, limit: int) -> Sequence[RunRecord]:
        """See `SharedEngine.abandoned`."""
        return [record_of(row) for row in await self._rows(_ABANDONED, handler, self._here.id, limit)]

    async def waiting(self, handler: str) -> int:
        """See `SharedEngine.waiting`."""
        return int((await self._rows(_WAITING, handler, self._here.id))[0][0])

    async def next_queued(self, owner: str, session_id: str) -> RunRecord | None:
        """See `Engine.next_queued`."""
        run = await self._one(
            f"{_ALL} WHERE owner = $1 AND session_id = $2 AND {UNFINISHED}"
            " ORDER BY status = 'queued', number LIMIT 1",
            *(owner, session_id),
        )
        return run if run is not None and run.status is Status.QUEUED else None

    async def purge(self, now: float, limit: int) -> Sequence[str]:
        """See `Engine.purge`."""
        names = [str(row[0]) for row in await self._rows(_PURGE, now, limit)]
        if len(names) < limit:
            names += [str(row[0]) for row in await self._rows(_EMPTY, now, limit - len(names))]
        if self._here.has_others:
            self._here.say((News.EVENTS, name) for name in names)
        return names


def _columns(rows: Sequence[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


async def _signals(connection: Connection, number: int) -> dict[str, list[str]]:
    signals: dict[str, list[str]] = {}
    for name, payload in await connection.fetch(
        "SELECT name, payload FROM signals WHERE run = $1 ORDER BY number", number
    ):
        signals.setdefault(name, []).append(payload)
    return signals


def _hear_nothing(_kind: News, _name: str) -> None:
    """Before anybody listens."""
