"""The engine in a SQLite file: for one process, which holds the file as long as it lives."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from agentserver.durable._engine import Admit, DisplacedError, Filter, StoreUnavailableError
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
from agentserver.durable._sqlite_file import VERSION, FileLock, connect, make_folder
from agentserver.durable._sqlite_writer import SqliteWriter

T = TypeVar("T")

_ALL: Final = f"SELECT {COLUMNS} FROM runs"
_INSERT: Final = (
    f"INSERT INTO runs ({ASKED}, status, updated) VALUES ({', '.join('?' * (len(NewRun._fields) + 2))})"
)
_ROOM: Final = 1_000_000
_VACUUMED_PAGES: Final = 64
_VACUUM_PAUSE: Final = 0.01


class SqliteEngine:
    """Keeps runs in one file; see `Engine`.

    Args:
        path: The file. Beside it there is a lock, and while it is in use what SQLite puts there.
        read_only: Whether it is only looked at, which needs no lock; everything that writes fails then.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._is_read_only = read_only
        self._lock = FileLock(path)
        self._writer: SqliteWriter | None = None

    async def open(self) -> None:
        """See `Engine.open`."""
        if self._is_read_only:
            writer = SqliteWriter(lambda: connect(self.path, read_only=True), begin="BEGIN")
            await writer.open()
        else:
            make_folder(self.path)
            self._lock.acquire()
            writer = SqliteWriter(lambda: connect(self.path))
            try:
                await writer.open()
            except BaseException:
                self._lock.release()
                raise
        self._writer = writer

    async def close(self) -> None:
        """See `Engine.close`."""
        if self._writer is not None:
            await self._writer.close()
            self._lock.release()

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise StoreUnavailableError("the store is not open")
        return await self._writer.call(work)

    async def probe(self) -> None:
        """See `Engine.probe`; a page may still go where a run does not."""
        free = shutil.disk_usage(self.path.parent).free
        if free < _ROOM:
            raise StoreUnavailableError(f"{self.path} has {free} bytes left, and a run may need {_ROOM}")
        await self._call(lambda file: file.execute(f"PRAGMA user_version = {VERSION}"))

    async def create(self, run: NewRun, admit: Admit) -> Created:
        """See `Engine.create`."""
        return await self._call(lambda file: _create(file, run, admit))

    async def claim(self, invocation_id: str, now: float) -> Journal | None:
        """See `Engine.claim`."""
        return await self._call(lambda file: _claim(file, invocation_id, now))

    async def write(self, invocation_id: str, epoch: int, changes: Changes) -> None:
        """See `Engine.write`."""
        await self._call(lambda file: _write(file, invocation_id, epoch, changes))

    async def cancel(self, invocation_id: str, now: float) -> RunRecord | None:
        """See `Engine.cancel`."""
        return await self._call(lambda file: _cancel(file, invocation_id, now))

    async def signal(self, invocation_id: str, name: str, payload: str, now: float) -> int | None:
        """See `Engine.signal`."""
        return await self._call(lambda file: _signal(file, invocation_id, name, payload, now))

    async def get(self, invocation_id: str) -> RunRecord | None:
        """See `Engine.get`."""
        return await self._call(lambda file: _one(file, "invocation_id = ?", invocation_id))

    async def list(self, which: Filter) -> Sequence[RunRecord]:
        """See `Engine.list`."""
        return await self._call(lambda file: _list(file, which))

    async def events(self, invocation_id: str, after: int, limit: int) -> Sequence[Event]:
        """See `Engine.events`."""
        query = (
            "SELECT id, kind, data, origin FROM events"
            " WHERE run = (SELECT number FROM runs WHERE invocation_id = ?) AND id > ? ORDER BY id LIMIT ?"
        )
        return await self._call(
            lambda file: [Event(*row) for row in file.execute(query, (invocation_id, after, limit))]
        )

    async def unfinished(self) -> Sequence[RunRecord]:
        """See `Engine.unfinished`."""
        return await self._call(lambda file: _records(file, f"WHERE {UNFINISHED} ORDER BY number"))

    async def next_queued(self, owner: str, session_id: str) -> RunRecord | None:
        """See `Engine.next_queued`."""
        return await self._call(lambda file: _next_queued(file, owner, session_id))

    async def purge(self, now: float, limit: int) -> Sequence[str]:
        """See `Engine.purge`."""
        purged = await self._call(lambda file: _purge(file, now, limit))
        while purged:
            left: int = await self._call(_give_back_space)
            if not left:
                break
            await asyncio.sleep(_VACUUM_PAUSE)  # others first: nobody waits for this
        return purged


def _records(file: sqlite3.Connection, clauses: str, *values: object) -> list[RunRecord]:
    return [record_of(row) for row in file.execute(f"{_ALL} {clauses}", values)]


def _one(file: sqlite3.Connection, condition: str, *values: object) -> RunRecord | None:
    return next(iter(_records(file, f"WHERE {condition} LIMIT 1", *values)), None)


def _number(file: sqlite3.Connection, invocation_id: str) -> int:
    row = file.execute("SELECT number FROM runs WHERE invocation_id = ?", (invocation_id,)).fetchone()
    return int(row[0])


def _create(file: sqlite3.Connection, run: NewRun, admit: Admit) -> Created:
    known = _one(file, "invocation_id = ?", run.invocation_id)
    if known is None and run.key is not None:
        known = _one(file, "owner = ? AND key = ?", run.owner, run.key)
    if known is not None:
        return Created(known, is_new=False)
    rows = file.execute(
        f"SELECT status, invocation_id FROM runs WHERE owner = ? AND session_id = ? AND {UNFINISHED}"
        " ORDER BY number",
        (run.owner, run.session_id),
    ).fetchall()
    running = [name for status, name in rows if status == Status.IN_PROGRESS.value]
    status = admit(len(running), len(rows) - len(running))
    file.execute(_INSERT, (*run, status.value, run.created))
    record = RunRecord(run, status, run.created)
    return Created(record, is_new=True, position=len(rows), before=running[0] if running else None)


def _claim(file: sqlite3.Connection, invocation_id: str, now: float) -> Journal | None:
    file.execute(
        "UPDATE runs SET status = 'in_progress', updated = ?, epoch = epoch + 1,"
        " recoveries = recoveries + (epoch > 0), stale = stale + (epoch > 0)"
        f" WHERE invocation_id = ? AND {UNFINISHED}",
        (now, invocation_id),
    )
    run = _one(file, f"invocation_id = ? AND {UNFINISHED}", invocation_id)
    if run is None:
        return None
    number = _number(file, invocation_id)
    steps = file.execute(
        "SELECT name, use, outcome, failures, position FROM steps WHERE run = ? ORDER BY recorded", (number,)
    )
    origins = file.execute("SELECT origin FROM events WHERE run = ? AND origin IS NOT NULL", (number,))
    signals: dict[str, list[str]] = {}
    for name, payload in file.execute(
        "SELECT name, payload FROM signals WHERE run = ? ORDER BY number", (number,)
    ):
        signals.setdefault(name, []).append(payload)
    records = [StepRecord(StepKey(name, use), *rest) for name, use, *rest in steps]
    return Journal(
        run, {record.key: record for record in records}, frozenset(row[0] for row in origins), signals
    )


def _write(file: sqlite3.Connection, invocation_id: str, epoch: int, changes: Changes) -> None:
    is_progress = bool(changes.steps) or any(not event.kind for event in changes.events)
    last_event = changes.events[-1].id if changes.events else 0
    cursor = file.execute(
        "UPDATE runs SET updated = ?, retries = retries + ?, stale = stale * ?,"
        " last_event = max(last_event, ?)"
        " WHERE invocation_id = ? AND epoch = ? AND status = 'in_progress' RETURNING number",
        (changes.now, changes.retries, int(not is_progress), last_event, invocation_id, epoch),
    ).fetchone()
    if cursor is None:
        raise DisplacedError(f"the run {invocation_id} is somebody else's")
    number = int(cursor[0])
    if changes.steps:
        _insert_steps(file, number, changes.steps)
    if changes.events:
        file.executemany(
            "INSERT INTO events (run, id, kind, data, origin) VALUES (?, ?, ?, ?, ?)",
            [(number, *event) for event in changes.events],
        )
    end = changes.end
    if end is not None:
        file.execute(
            "UPDATE runs SET status = ?, output = ?, error = ?, expires = ?, events_expire = ?"
            " WHERE number = ?",
            (end.status.value, end.output, end.error, end.expires, end.events_expire, number),
        )


def _insert_steps(file: sqlite3.Connection, number: int, steps: Iterable[StepRecord]) -> None:
    file.executemany(
        # What was known of it goes, so that the newest is the last.
        "INSERT OR REPLACE INTO steps (run, name, use, outcome, failures, position)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [(number, *step.key, step.outcome, step.failures, step.position) for step in steps],
    )


def _cancel(file: sqlite3.Connection, invocation_id: str, now: float) -> RunRecord | None:
    file.execute(
        "UPDATE runs SET is_cancelled = 1, updated = ?"
        " WHERE invocation_id = ? AND status = 'in_progress' AND NOT is_cancelled",
        (now, invocation_id),
    )
    return _one(file, "invocation_id = ?", invocation_id)


def _signal(file: sqlite3.Connection, invocation_id: str, name: str, payload: str, now: float) -> int | None:
    row = file.execute(
        f"UPDATE runs SET updated = ? WHERE invocation_id = ? AND {UNFINISHED} RETURNING number",
        (now, invocation_id),
    ).fetchone()
    if row is None:
        return None
    known = file.execute("SELECT count(*) FROM signals WHERE run = ? AND name = ?", (row[0], name)).fetchone()
    file.execute(
        "INSERT INTO signals (run, name, number, payload) VALUES (?, ?, ?, ?)",
        (row[0], name, known[0], payload),
    )
    return int(known[0])


def _list(file: sqlite3.Connection, which: Filter) -> list[RunRecord]:
    conditions = {
        "owner = ?": which.owner,
        "status = ?": None if which.status is None else which.status.value,
        "session_id = ?": which.session_id,
        "number < (SELECT number FROM runs WHERE invocation_id = ?)": which.before,
    }
    asked = {condition: value for condition, value in conditions.items() if value is not None}
    where = f"WHERE {' AND '.join(asked)}" if asked else ""
    return _records(file, f"{where} ORDER BY number DESC LIMIT ?", *asked.values(), which.limit)


def _next_queued(file: sqlite3.Connection, owner: str, session_id: str) -> RunRecord | None:
    runs = _records(
        file,
        f"WHERE owner = ? AND session_id = ? AND {UNFINISHED} ORDER BY status, number LIMIT 1",
        owner,
        session_id,
    )
    return runs[0] if runs and runs[0].status is Status.QUEUED else None


def _purge(file: sqlite3.Connection, now: float, limit: int) -> list[str]:
    expired = file.execute(
        "SELECT number, invocation_id FROM runs WHERE expires <= ? LIMIT ?", (now, limit)
    ).fetchall()
    for number, _ in expired:
        for table in ("events", "steps", "signals"):
            file.execute(f"DELETE FROM {table} WHERE run = ?", (number,))
        file.execute("DELETE FROM runs WHERE number = ?", (number,))
    emptied = file.execute(
        "SELECT number, invocation_id FROM runs WHERE events_expire <= ? AND has_events LIMIT ?",
        (now, limit - len(expired)),
    ).fetchall()
    for number, _ in emptied:
        file.execute("DELETE FROM events WHERE run = ?", (number,))
        file.execute("UPDATE runs SET has_events = 0 WHERE number = ?", (number,))
    return [name for _, name in (*expired, *emptied)]


def _give_back_space(file: sqlite3.Connection) -> int:
    """Give some free pages back to the file system; how many are left."""
    free = int(file.execute("PRAGMA freelist_count").fetchone()[0])
    for _ in range(min(free, _VACUUMED_PAGES)):
        file.execute("PRAGMA incremental_vacuum(1)")  # a statement without columns is stepped only once
    return max(0, free - _VACUUMED_PAGES)
