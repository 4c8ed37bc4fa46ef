"""Which engine a process uses: one variable says."""

from __future__ import annotations

from pathlib import Path

from agentserver.durable._engine import Engine
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError
from agentserver.wire import STORE_VARIABLE


def store_path(environment: FoundryEnvironment) -> Path:
    """The file of the SQLite engine."""
    if environment.store:
        return Path(environment.store.removeprefix("sqlite:///")).expanduser()
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in environment.agent_name)
    try:
        home = Path.home()
    except RuntimeError:
        raise ConfigurationError(f"there is no home folder: set {STORE_VARIABLE} to a file") from None
    return home / ".agentserver" / f"{name or 'agent'}.sqlite3"


def open_engine(environment: FoundryEnvironment) -> Engine:
    """The engine that *environment* asks for, not yet open.

    Raises:
        ConfigurationError: If it asks for one that there is not.
    """
    store = environment.store
    if store == "memory":
        from agentserver.durable._memory import MemoryEngine

        return MemoryEngine()
    scheme, found, _ = store.partition("://")
    if found and scheme in {"postgresql", "postgres"}:
        from agentserver.durable._postgres import PostgresEngine
        from agentserver.durable._postgres_database import address_of

        return PostgresEngine(address_of(store, environment.agent_name))
    if found and scheme != "sqlite":
        raise ConfigurationError(
            f"{STORE_VARIABLE} names a store of the kind {scheme!r}, but there are: a path of a file for"
            " SQLite, 'postgresql://…', and 'memory'"
        )
    from agentserver.durable._sqlite import SqliteEngine

    return SqliteEngine(store_path(environment))
