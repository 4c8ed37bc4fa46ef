"""One of several processes on a PostgreSQL store: how others know that it lives, and what it hears.

Each has a number of its own for each start, and holds an advisory lock of that number on a connection of its
own. Whose lock is free is dead: the server says so, and no clock of a replica's. Its row is deleted, and what
has a holder without a row is anybody's. A process that is frozen says nothing on that connection, so the
server ends it, and with it the lock. It hears on another one: a session whose news nobody reads is not idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from typing import Any, Final
from zlib import crc32

from agentserver.durable._bell import Bell
from agentserver.durable._engine import News, StoreUnavailableError
from agentserver.durable._postgres_database import Address, Connection, Database, connect

logger = logging.getLogger("agentserver")

SILENCE: Final = 6.0
"""Seconds after which the server ends the session of a process that says nothing."""
_PING_EVERY: Final = 2.0
_SWEEP_EVERY: Final = 1.0
_TIMES_FREE: Final = 3
_CONNECT_AGAIN: Final = 0.25

Told = Callable[[News, str], None]

# Not worth a flush of its own to the disk.
_NOTIFY: Final = """
WITH lightly AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
SELECT pg_notify($1, news) FROM lightly, unnest($2::text[]) AS news
"""
# Those whose lock nobody holds.
_DEAD: Final = """
SELECT id FROM replicas WHERE id <> $2 AND id NOT IN (
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = $1::bigint & 4294967295 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
"""
_TERMINATE: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND usename = current_user
"""


class Replica:
    """This process among the others.

    Args:
        address: Where the store is.
        database: The connections for everything else.
        told: Is called with what the others do.
    """

    def __init__(self, address: Address, database: Database, told: Told) -> None:
        self._address = address
        self._database = database
        self._told = told
        self._channel = f"{address.schema}_runs"
        self._locks = crc32(address.schema.encode()) - (1 << 31)  # which locks of the database are ours
        self._connection: Connection | None = None
        self._ears: Connection | None = None
        self._suspected: Mapping[int, int] = {}
        self._unsaid: dict[str, None] = {}
        self._saying: asyncio.Task[None] | None = None
        self._gone = Bell()
        self._tasks: list[asyncio.Task[None]] = []
        self.id = 0
        self.has_others = True

    async def open(self) -> None:
        """Become one of them.

        Raises:
            StoreUnavailableError: If the database cannot be reached.
        """
        await self._join()
        loop = asyncio.get_running_loop()
        self._tasks = [Context().run(loop.create_task, work) for work in (self._stay(), self._sweep_always())]

    async def close(self) -> None:
        """Leave: what it has claimed is for the others."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._saying is not None:
            await asyncio.wait({self._saying}, timeout=_CONNECT_AGAIN)
        with contextlib.suppress(StoreUnavailableError):
            await self._bury(self.id)
        self._leave()

    def say(self, news: Iterable[tuple[News, str]]) -> None:
        """Tell the others, soon; what comes while something is told is told next."""
        self._unsaid.update((self._text(kind, name), None) for kind, name in news)
        if self._saying is None and self._unsaid:
            self._saying = Context().run(asyncio.get_running_loop().create_task, self._say_all())

    def news(self, kind: News, name: str = "") -> tuple[str, str]:
        """What `pg_notify` takes, to tell the others as part of a transaction."""
        return self._channel, self._text(kind, name)

    def _text(self, kind: News, name: str) -> str:
        return f"{self.id} {kind.value} {name}"

    async def _say_all(self) -> None:
        try:
            while self._unsaid:
                unsaid, self._unsaid = list(self._unsaid), {}
                async with self._database.connection() as connection:
                    await connection.execute(_NOTIFY, self._channel, unsaid)
        except StoreUnavailableError:
            self._unsaid.clear()  # who reads looks from time to time
        finally:
            self._saying = None

    # --- to be there

    async def _join(self) -> None:
        settings = {"idle_session_timeout": str(int(SILENCE * 1000)), "synchronous_commit": "off"}
        connection = self._connection = await connect(self._address, settings)
        try:
            with self._database.guard():
                if self.id and not await self._lock_again(connection):
                    self.id = 0
                    self._told(News.DISPLACED, "")
                if not self.id:
                    name = f"{socket.gethostname()}:{os.getpid()}"
                    async with connection.transaction():
                        new = await connection.fetchval(
                            "INSERT INTO replicas (name) VALUES ($1) RETURNING id", name
                        )
                        await connection.execute("SELECT pg_advisory_lock($1, $2)", self._locks, new)
                    self.id = int(new)
                ears = self._ears = await connect(self._address, {"application_name": self._ears_of(self.id)})
                await ears.add_listener(self._channel, self._hear)
                for either in (connection, ears):
                    either.add_termination_listener(self._lost)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        for either in (self._connection, self._ears):
            if either is not None:
                either.terminate()
        self._connection = self._ears = None

    def _ears_of(self, replica: int) -> str:
        return f"agentserver {self._locks} {replica}"

    async def _lock_again(self, connection: Connection) -> bool:
        """Take the lock of a session that has broken; whether nobody has taken over meanwhile."""
        # The server may not have seen yet that the session before is over.
        await connection.execute("SET lock_timeout = 4000")
        await connection.execute("SELECT pg_advisory_lock($1, $2)", self._locks, self.id)
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM replicas WHERE id = $1)", self.id))

    async def _stay(self) -> None:
        """Keep the lock; if the connection breaks, come back, as the same one if the others allow."""
        while True:
            try:
                if self._connection is None or self._ears is None:
                    await self._join()
                    self._told(News.MISSED, "")
                with self._database.guard():
                    for either in (self._connection, self._ears):
                        if either is not None:
                            await either.fetchval("SELECT 1")
                await self._gone.wait(_PING_EVERY)
            # Whatever it is: without the lock, others would take this process for dead.
            except Exception as error:  # noqa: BLE001
                if self._connection is not None:
                    logger.warning("the connection to the store was lost: %s", error)
                self._leave()
                await asyncio.sleep(_CONNECT_AGAIN)

    def _lost(self, _connection: Any) -> None:
        self._gone.ring()

    def _hear(self, _connection: Any, _process: int, _channel: str, text: str) -> None:
        speaker, kind, name = text.split(" ", 2)
        if int(speaker) != self.id:
            self._told(News(kind), name)

    # --- to take over

    async def _sweep_always(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            try:
                await self._sweep()
            except StoreUnavailableError:
                self._suspected = {}  # who comes back with the store is given time
            except Exception:
                logger.exception("dead replicas cannot be looked for")

    async def _sweep(self) -> None:
        """Bury whose lock is free again and again: who has only lost the connection comes back meanwhile."""
        async with self._database.connection() as connection:
            dead = {int(row[0]) for row in await connection.fetch(_DEAD, self._locks, self.id)}
            others = await connection.fetchval("SELECT count(*) FROM replicas")
        self.has_others = others > 1
        self._suspected = {replica: self._suspected.get(replica, 0) + 1 for replica in dead}
        for replica, times in self._suspected.items():
            if times >= _TIMES_FREE and await self._bury(replica):
                logger.warning("the replica %d is gone: its runs are taken up", replica)
                self._told(News.ABANDONED, "")

    async def _bury(self, replica: int) -> bool:
        """Let the others have the runs of *replica*; ``False`` if it lives, or somebody else does so."""
        async with self._database.connection() as connection, connection.transaction():
            is_ours = replica == self.id or await connection.fetchval(
                "SELECT pg_try_advisory_xact_lock($1, $2)", self._locks, replica
            )
            if not is_ours:
                return False
            row = await connection.fetchrow("DELETE FROM replicas WHERE id = $1 RETURNING id", replica)
            # Its ears, if it is frozen, would keep the server from forgetting any news.
            await connection.execute(_TERMINATE, self._ears_of(replica))
            await connection.execute("SELECT pg_notify($1, $2)", *self.news(News.ABANDONED))
            return row is not None
