"""A store as an operator sees it: what is in it, and what may be done to it beside the agent."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from agentserver.durable._engine import Engine
from agentserver.durable._records import Changes, End, Event, RunRecord, Status
from agentserver.durable._sqlite import SqliteEngine
from agentserver.durable._store import open_engine
from agentserver.durable.options import Durable
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError
from agentserver.wire import STORE_VARIABLE

_PURGED_AT_ONCE: Final = 100


@asynccontextmanager
async def existing_store(environment: FoundryEnvironment, *, read_only: bool) -> AsyncGenerator[Engine, None]:
    """The store that *environment* names, which must be there.

    Args:
        environment: Names the store.
        read_only: Whether it is only looked at, as it may be beside the agent that uses it.

    Raises:
        ConfigurationError: If there is none, or none that another process could open.
        StoreUnavailableError: If it is to be changed and another process holds it.
    """
    if environment.store == "memory":
        raise ConfigurationError(
            f"{STORE_VARIABLE} is 'memory', which is in the agent's process alone: ask the agent"
        )
    engine = open_engine(environment)
    if isinstance(engine, SqliteEngine):
        if not _is_there(engine.path):
            raise ConfigurationError(
                f"there is no store at {engine.path}: set {STORE_VARIABLE} to the one that the agent uses"
            )
        engine = SqliteEngine(engine.path, read_only=read_only)
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}): run this as the user that the agent runs as"
        ) from None


def described(run: RunRecord) -> dict[str, Any]:
    """What an operator is told of a run: nothing of its headers, which have ids of the platform."""
    asked = run.asked
    told = {"handler": asked.handler, "owner": asked.owner, "key": asked.key, **run.snapshot()}
    return {name: value for name, value in told.items() if value not in ("", None)}


def described_event(event: Event) -> dict[str, Any]:
    """What an operator is told of an event of a run."""
    return {"id": event.id, "event": event.kind or "message", "data": json.loads(event.data)}


async def cancel(engine: Engine, invocation_id: str, now: float) -> RunRecord | None:
    """Have a run end of which no process works: at once if it waits, else when its agent takes it up again.

    Args:
        engine: The store.
        invocation_id: The run.
        now: Seconds since 1970.

    Returns:
        The run as it then stands; ``None`` if there is none.
    """
    run = await engine.get(invocation_id)
    if run is None or run.status is not Status.QUEUED:
        return await engine.cancel(invocation_id, now)
    journal = await engine.claim(invocation_id, now)
    if journal is not None:
        claimed = journal.run
        ended = claimed._replace(
            status=Status.CANCELLED, updated=now, last_event=claimed.last_event + 1
        ).snapshot()
        event = Event(claimed.last_event + 1, "cancelled", json.dumps({"type": "cancelled", **ended}))
        expires = now + Durable().keep.total_seconds()
        end = End(Status.CANCELLED, None, None, expires, expires)
        await engine.write(invocation_id, claimed.epoch, Changes(now, [event], [], end=end))
    return await engine.get(invocation_id)


async def purge(engine: Engine, now: float) -> int:
    """Forget what has expired by *now*, seconds since 1970; how many runs something was forgotten of."""
    count = 0
    while True:
        purged = await engine.purge(now, _PURGED_AT_ONCE)
        count += len(purged)
        if len(purged) < _PURGED_AT_ONCE:
            return count
