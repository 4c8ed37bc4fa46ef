"""Where sessions are kept, and for how long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest.mock import patch

import pytest

from agentserver.errors import ConfigurationError
from agentserver.integrations.sessions import (
    FileSessionStore,
    MemorySessionStore,
    SessionStore,
    session_key,
)
from agentserver.invocations.context import InvocationContext


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SessionStore:
    return MemorySessionStore() if request.param == "memory" else FileSessionStore(tmp_path / "sessions")


async def test_what_is_saved_is_found_until_it_is_deleted(store: SessionStore) -> None:
    assert await store.load("a") is None
    await store.save("a", b"1")
    await store.save("b", b"2")
    await store.save("a", b"3")
    assert (await store.load("a"), await store.load("b")) == (b"3", b"2")
    await store.delete("a")
    await store.delete("a")
    assert (await store.load("a"), await store.load("b")) == (None, b"2")


@pytest.mark.parametrize("key", ["..", "x/../../y", "A", "x" * 300, "é:1@2"])
async def test_no_key_leads_out_of_its_place(key: str, store: SessionStore) -> None:
    await store.save(key, b"1")
    await store.save(key.lower() + "!", b"2")
    assert await store.load(key) == b"1"


async def test_memory_lets_go_of_the_session_whose_last_turn_is_the_longest_ago() -> None:
    store = MemorySessionStore(limit=2)
    for key in ("a", "b", "a", "c"):
        await store.save(key, b"x")
    assert [await store.load(key) for key in "abc"] == [b"x", None, b"x"]


async def test_memory_lets_go_of_what_is_old() -> None:
    now = 0.0
    store = MemorySessionStore(max_age=10, clock=lambda: now)
    await store.save("a", b"x")
    now = 9.0
    await store.save("b", b"x")
    assert await store.load("a") == b"x"
    now = 10.0
    assert [await store.load(key) for key in "ab"] == [None, b"x"]


async def test_memory_keeps_for_ever_if_told_to() -> None:
    now = 0.0
    store = MemorySessionStore(max_age=None, clock=lambda: now)
    await store.save("a", b"x")
    now = 1e9
    assert await store.load("a") == b"x"


async def test_a_file_is_there_for_the_next_process_and_for_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "of" / "sessions"
    await FileSessionStore(place).save("a", b"x")
    (file,) = await asyncio.to_thread(lambda: list(place.iterdir()))
    assert (place.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert await FileSessionStore(str(place)).load("a") == b"x"


async def test_a_file_that_cannot_be_written_leaves_the_one_before_it(tmp_path: Path) -> None:
    store = FileSessionStore(tmp_path)
    await store.save("a", b"x")
    with (
        patch("os.fsync", side_effect=OSError(28, "No space left on device")),
        pytest.raises(OSError, match="space"),
    ):
        await store.save("a", b"y")
    assert await store.load("a") == b"x"
    assert len(await asyncio.to_thread(lambda: list(tmp_path.iterdir()))) == 1


@pytest.mark.parametrize(
    ("limit", "max_age", "words"),
    [
        (0, None, "limit is 0, but it must be a whole number, 1 or more"),
        (1, 0, "max_age is 0, but it must be a finite number above 0, or None for for ever"),
    ],
)
def test_a_wrong_limit_is_refused(limit: int, max_age: float | None, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        MemorySessionStore(limit, max_age)


def test_no_directory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be a path"):
        FileSessionStore("")


def test_the_key_says_whose_session_it_is_without_saying_who() -> None:
    assert session_key(InvocationContext(invocation_id="i", session_id="s")) == "s"
    keys = {
        session_key(InvocationContext(invocation_id="i", session_id="s", headers={name: who}))
        for name, who in (
            ("x-agent-user-id", "alice"),
            ("x-agent-user-isolation-key", "alice"),
            ("x-agent-user-id", "bob"),
        )
    }
    assert len(keys) == 2
    assert all(key.startswith("s@") and "alice" not in key for key in keys)
