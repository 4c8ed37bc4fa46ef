"""Where the state of conversations is kept, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agentserver._checks import SOME_SECONDS, Check, check_options, optional, whole
from agentserver.invocations.context import InvocationContext

__all__ = ["FileSessionStore", "MemorySessionStore", "SessionStore", "session_key"]


class SessionStore(Protocol):
    """Keeps a conversation's state under a key, as bytes that only the adapter can read.

    The adapters call it for one turn of a session after the other, within this process; a store that several
    processes share must say itself what happens when two of them save.
    """

    async def load(self, key: str) -> bytes | None:
        """What was saved under *key*; ``None`` if there is nothing, or nothing any more."""
        ...

    async def save(self, key: str, state: bytes) -> None:
        """Keep *state* under *key*, in the place of what was there."""
        ...

    async def delete(self, key: str) -> None:
        """Forget *key*, if it is known."""
        ...


class MemorySessionStore:
    """Keeps sessions in this process, the most recent ones.

    Args:
        limit: How many sessions; one more takes the place of the one whose last turn is the longest ago.
        max_age: Seconds after its last turn that a session is kept; ``None`` is for ever.
        clock: Tells the seconds; for tests.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    def __init__(
        self,
        limit: int = 1000,
        max_age: float | None = 24 * 3600,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = limit
        self.max_age = max_age
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        checks = {"limit": whole(1), "max_age": optional(SOME_SECONDS, "for ever")}
        check_options(self, checks)

    async def load(self, key: str) -> bytes | None:
        """As `SessionStore.load` of *key*."""
        self._forget_the_old()
        found = self._kept.get(key)
        return None if found is None else found[1]

    async def save(self, key: str, state: bytes) -> None:
        """As `SessionStore.save` of *key* and *state*."""
        self._kept[key] = (self._clock(), state)
        self._kept.move_to_end(key)
        self._forget_the_old()
        while len(self._kept) > self.limit:
            self._kept.popitem(last=False)

    async def delete(self, key: str) -> None:
        """As `SessionStore.delete` of *key*."""
        self._kept.pop(key, None)

    def _forget_the_old(self) -> None:
        if self.max_age is None:
            return
        # They are in the order of their last turn, so the first that may stay ends the search.
        oldest = self._clock() - self.max_age
        while self._kept:
            key, (saved, _) = next(iter(self._kept.items()))
            if saved > oldest:
                break
            del self._kept[key]


class FileSessionStore:
    """Keeps each session in a file of its own, readable for its owner alone, for ever.

    A file takes the place of the one before it whole, and is on disk before the turn counts as done. Of two
    processes that save the same session, the last one wins.

    Args:
        directory: Where; made if it is not there.

    Raises:
        ConfigurationError: If the path is empty.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        check_options(self, {"directory": Check("a path", lambda value: str(value) not in {"", "."})})

    async def load(self, key: str) -> bytes | None:
        """As `SessionStore.load` of *key*."""
        return await asyncio.to_thread(self._load, self._path(key))

    async def save(self, key: str, state: bytes) -> None:
        """As `SessionStore.save` of *key* and *state*."""
        await asyncio.to_thread(self._save, self._path(key), state)

    async def delete(self, key: str) -> None:
        """As `SessionStore.delete` of *key*."""
        await asyncio.to_thread(self._path(key).unlink, missing_ok=True)

    def _path(self, key: str) -> Path:
        # An id may be "..", or differ from another by the case of a letter alone.
        return self.directory / f"{hashlib.sha256(key.encode()).hexdigest()}.session"

    def _load(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def _save(self, path: Path, state: bytes) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=self.directory)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(state)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def session_key(context: InvocationContext) -> str:
    """The key that the state of *context*'s session is kept under: its id, and whose it is.

    A session belongs to who the platform says the user is, so that nobody goes on with the conversation of
    somebody else by giving its id. Where the platform says nothing, the id is all.
    """
    who = context.isolation.user_isolation_key or context.platform.user_id
    if who is None:
        return context.session_id
    digest = hashlib.sha256(who.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return f"{context.session_id}@{digest}"
