"""What a file and its file system may do to the SQLite engine, from the start on."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentserver.durable import _sqlite_file
from agentserver.durable._engine import StoreUnavailableError
from agentserver.durable._records import Status
from agentserver.durable._sqlite import SqliteEngine
from agentserver.durable.run import Run
from agentserver.errors import ConfigurationError
from tests.durable.agents import Worker
from tests.durable.harness import World, timeout
from tests.servers import serving


async def body(run: Run, _value: Any) -> str:
    await run.step("work", lambda: "x" * 20_000)
    return "done"


async def test_a_damaged_page_is_said_at_the_start_and_nothing_is_deleted(tmp_path: Path) -> None:
    world = World("sqlite", tmp_path)
    async with world.process(body) as process:
        for _ in range(20):
            await process.end(await process.begin())
    path = tmp_path / "runs.sqlite3"
    whole = path.read_bytes()
    size = int.from_bytes(whole[16:18], "big")
    path.write_bytes(whole[:size] + b"\xa5" * (len(whole) - size))
    with pytest.raises(ConfigurationError, match=r"cannot be used as a store .*: put a copy of it"):
        await SqliteEngine(path).open()
    assert len(path.read_bytes()) == len(whole)
    path.write_bytes(whole)
    async with world.process(body) as process:
        assert (await process.end(await process.begin())).status is Status.COMPLETED


async def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_sqlite_file, "_lock", refuse)
    with pytest.raises(ConfigurationError, match=r"has no locks .*AGENTSERVER_STORE to a file on another"):
        await SqliteEngine(tmp_path / "runs").open()


async def test_without_fcntl_the_lock_is_that_of_windows_or_a_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: set[str] = set()

    def locking(file: int, _mode: int, _size: int) -> None:
        name = os.readlink(f"/proc/self/fd/{file}")
        if name in held:
            raise PermissionError(errno.EACCES, "Permission denied")
        held.add(name)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(ConfigurationError, match=r"no locks of files.*: set AGENTSERVER_STORE to"):
        await SqliteEngine(tmp_path / "runs").open()
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    engine = SqliteEngine(tmp_path / "runs")
    await engine.open()
    with pytest.raises(StoreUnavailableError, match="another process uses"):
        await SqliteEngine(tmp_path / "runs").open()
    await engine.close()


async def test_without_shared_memory_runs_are_kept_by_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def without_memory(address: str, **options: Any) -> sqlite3.Connection:
        return connect(f"{address}&vfs=unix-none", **options)

    monkeypatch.setattr(sqlite3, "connect", without_memory)
    world = World("sqlite", tmp_path)
    async with world.process(body) as process:
        assert (await process.end(await process.begin())).status is Status.COMPLETED
    assert "has a rollback journal (delete)" in caplog.text


async def test_a_disk_that_is_full_at_the_start_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepare = _sqlite_file._prepare
    times: list[int] = []

    def full_at_first(connection: sqlite3.Connection, path: Path) -> None:
        times.append(1)
        if len(times) < 3:
            raise sqlite3.OperationalError("database or disk is full")
        prepare(connection, path)

    monkeypatch.setattr(_sqlite_file, "_prepare", full_at_first)
    world = World("sqlite", tmp_path)
    async with world.process(body) as process:
        with pytest.raises(StoreUnavailableError):
            _ = await process.begin()
        async with timeout():
            while not process.runs.is_open:
                await asyncio.sleep(0.01)
        assert (await process.end(await process.begin())).status is Status.COMPLETED
    assert "no run is taken before the store can be used" in caplog.text


async def test_readiness_says_that_a_disk_is_full_before_a_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 0

    def usage(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=left)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    async with serving(Worker, environment={"AGENTSERVER_STORE": str(tmp_path / "runs")}) as client:
        for left, status in ((10_000, 503), (10_000_000, 200)):  # noqa: B007 - usage says it
            async with client.get("/readiness") as response:
                assert response.status == status
