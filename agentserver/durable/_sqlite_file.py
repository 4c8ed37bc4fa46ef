"""The file of the SQLite engine: its lock, its settings, its tables, and what can be wrong with it."""

from __future__ import annotations

import contextlib
import errno
import logging
import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

from agentserver.durable._engine import StoreUnavailableError
from agentserver.errors import ConfigurationError
from agentserver.wire import STORE_VARIABLE

logger = logging.getLogger("agentserver")

VERSION: Final = 1
APPLICATION_ID: Final = 0x61677372  # "agsr"
_PASSING: Final = ("full", "locked")
"""Of a disk, and by somebody who makes a copy."""
_BUSY_SECONDS: Final = 2.0  # for a reader from outside, such as a copy being made

_TABLES: Final = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    invocation_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    key TEXT,
    digest TEXT NOT NULL,
    handler TEXT NOT NULL,
    input TEXT NOT NULL,
    headers TEXT NOT NULL,
    created REAL NOT NULL,
    status TEXT NOT NULL,
    updated REAL NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 0,
    recoveries INTEGER NOT NULL DEFAULT 0,
    stale INTEGER NOT NULL DEFAULT 0,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    last_event INTEGER NOT NULL DEFAULT 0,
    has_events INTEGER NOT NULL DEFAULT 1,
    output TEXT,
    error TEXT,
    expires REAL,
    events_expire REAL
);
CREATE UNIQUE INDEX runs_by_key ON runs (owner, key) WHERE key IS NOT NULL;
CREATE INDEX runs_by_owner ON runs (owner, number);
CREATE INDEX runs_unfinished ON runs (owner, session_id, number) WHERE status IN ('queued', 'in_progress');
CREATE INDEX runs_by_end ON runs (expires) WHERE expires IS NOT NULL;
CREATE INDEX runs_by_events_end ON runs (events_expire) WHERE events_expire IS NOT NULL AND has_events;
CREATE TABLE steps (
    recorded INTEGER PRIMARY KEY,
    run INTEGER NOT NULL, name TEXT NOT NULL, use INTEGER NOT NULL,
    outcome TEXT, failures INTEGER NOT NULL, position INTEGER,
    UNIQUE (run, name, use)
);
CREATE TABLE events (
    run INTEGER NOT NULL, id INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, origin TEXT,
    PRIMARY KEY (run, id)
) WITHOUT ROWID;
CREATE TABLE signals (
    run INTEGER NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, payload TEXT NOT NULL,
    PRIMARY KEY (run, name, number)
) WITHOUT ROWID;
"""


class FileLock:
    """A lock beside the file, held by one process until it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._file: BinaryIO | None = None

    def acquire(self) -> None:
        """Take it.

        Raises:
            StoreUnavailableError: If another process holds it.
            ConfigurationError: If there are no locks there.
        """
        held = self._path.open("ab")
        try:
            _lock(held)
        except ImportError:
            held.close()
            raise ConfigurationError(
                f"this Python has no locks of files, which keep two processes apart: set {STORE_VARIABLE} to"
                " 'postgresql://…', or to 'memory' for a trial"
            ) from None
        except OSError as error:
            held.close()
            if error.errno in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
                raise StoreUnavailableError(f"another process uses {self._path}") from None
            raise ConfigurationError(
                f"the file system of {self._path} has no locks ({error.strerror}): set {STORE_VARIABLE} to a"
                " file on another one"
            ) from None
        self._file = held

    def release(self) -> None:
        """Give it back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(held: BinaryIO) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        lock: Any = import_module("msvcrt")
        held.seek(0)
        lock.locking(held.fileno(), lock.LK_NBLCK, 1)
    else:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the store in *path*; make it if it is not there.

    Args:
        path: The file.
        read_only: Whether it is there, and only looked at, beside a process that may use it.

    Raises:
        ConfigurationError: If it is damaged, no store, of a later version, or cannot be opened.
        StoreUnavailableError: If it cannot be written now.
    """
    try:
        name = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        connection = sqlite3.connect(name, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise _unusable(path, error) from None
    try:
        (_look_at if read_only else _prepare)(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError) and any(word in str(error) for word in _PASSING):
            raise StoreUnavailableError(f"{path} cannot be written: {error}") from None
        if isinstance(error, sqlite3.Error):
            raise _unusable(path, error) from None
        raise
    return connection


def _has_tables(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether there is a store in *path*, which must be one that can be read, or nothing yet."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if tables and application != APPLICATION_ID:
        raise ConfigurationError(f"{path} is no store of agentserver: set {STORE_VARIABLE} to another file")
    if version > VERSION:
        raise ConfigurationError(
            f"{path} is of a later version of agentserver ({version}, this one reads {VERSION}): run that"
            f" version, or set {STORE_VARIABLE} to another file"
        )
    return bool(tables)


def _look_at(connection: sqlite3.Connection, path: Path) -> None:
    if not _has_tables(connection, path):
        raise ConfigurationError(f"{path} is empty: set {STORE_VARIABLE} to the file that the agent uses")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    tables = _has_tables(connection, path)
    if tables:
        for table in ("runs", "steps", "events", "signals"):  # damage is said now, not to a client
            connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()
    else:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is a table
    mode = str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
    if mode.lower() != "wal":
        logger.warning("%s has a rollback journal (%s): its file system cannot share memory", path, mode)
    connection.execute("PRAGMA synchronous = FULL")  # what is recorded stays so, through a loss of power too
    connection.execute("PRAGMA journal_size_limit = 4194304")
    connection.execute("PRAGMA cache_size = -1024")
    if not tables:
        connection.executescript(
            f"BEGIN IMMEDIATE;{_TABLES};PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {VERSION};COMMIT;"
        )


def _unusable(path: Path, error: sqlite3.Error) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be used as a store ({error}): put a copy of it in its place, move it away, or set"
        f" {STORE_VARIABLE} to another file"
    )


def make_folder(path: Path) -> None:
    """Make the folder of *path*, for its owner alone.

    Raises:
        ConfigurationError: If it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("ab"), contextlib.suppress(OSError):
            path.chmod(0o600)  # inputs and results of users are in it
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}): set {STORE_VARIABLE} to a file that can"
        ) from None
