"""A SQLite file behind one thread: what is asked while a commit is under way shares the next one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from agentserver.durable._engine import StoreUnavailableError

T = TypeVar("T")

_SHARED: Final = 128  # how many operations one commit may carry


class _Operation:
    """Something to do with the file, and who waits for it."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        if self.future.done():  # who waited has gone
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class SqliteWriter:
    """Runs operations in their order, each whole or not at all, in transactions that several share.

    Args:
        connect: Opens the file, in the thread that uses it.
        begin: What a transaction begins with.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, begin: str = "BEGIN IMMEDIATE") -> None:
        self._connect = connect
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Operation | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="agentserver-store", daemon=True)
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._is_closed = False

    async def open(self) -> None:
        """Begin; raises what opening the file raises."""
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """End, after all that was asked."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do *work* with the file; its result is that of something committed.

        Raises:
            StoreUnavailableError: If the file cannot be used now; nothing has happened.
        """
        if self._is_closed:
            raise StoreUnavailableError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Operation(work, future))
        return await future

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may have ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def _work(self) -> None:
        try:
            connection = self._connect()
        # Whatever keeps the file from being opened is for the caller to hear.
        except BaseException as error:  # noqa: BLE001
            self._tell(_fail, self._opened, error)
            return
        self._tell(self._opened.set_result, None)
        with contextlib.closing(connection):
            while (first := self._queue.get()) is not None:
                batch = [first]
                is_last = False
                while not self._queue.empty() and len(batch) < _SHARED:
                    following = self._queue.get()
                    if following is None:
                        is_last = True
                        break
                    batch.append(following)
                _commit(connection, batch, self._begin)
                self._tell(_settle, batch)
                if is_last:
                    return


def _commit(connection: sqlite3.Connection, batch: list[_Operation], begin: str) -> None:
    """Do all of *batch* in one transaction; if one of it fails, each in its own."""
    try:
        connection.execute(begin)
        for operation in batch:
            operation.result = operation.work(connection)
        connection.execute("COMMIT")
    # Each operation's error is for who asked for it.
    except Exception as error:  # noqa: BLE001
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if len(batch) == 1:
            batch[0].error = unavailable(error) if isinstance(error, sqlite3.Error) else error
            return
        for operation in batch:
            _commit(connection, [operation], begin)


def unavailable(error: sqlite3.Error) -> StoreUnavailableError:
    """*error* as what a caller may try again."""
    return StoreUnavailableError(f"the store cannot be used: {error}")


def _settle(batch: list[_Operation]) -> None:
    for operation in batch:
        operation.settle()


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
