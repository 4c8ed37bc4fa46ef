"""The server under test as a process of its own, and what the kernel says of it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from tests.servers import ServerProcess, running

AGENT = ("-m", "hardening.agent")


@contextlib.asynccontextmanager
async def agent(environment: Mapping[str, str] | None = None) -> AsyncGenerator[ServerProcess, None]:
    """Run the agent of ``hardening/agent.py`` until the block is left."""
    async with running(*AGENT, environment=environment) as server:
        yield server


def status(server: ServerProcess, field: str) -> int:
    """A number of ``/proc/PID/status``: ``VmRSS`` and ``VmHWM`` in KiB, ``Threads``."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0])


def descriptors(server: ServerProcess) -> int:
    """How many file descriptors the process has open."""
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def reset_peak(server: ServerProcess) -> None:
    """Have ``VmHWM`` begin anew at what is in use now."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def set_descriptor_limit(server: ServerProcess, limit: int) -> None:
    """Let the running process open no more than *limit* descriptors."""
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))


def note(what: str, figure: str) -> None:
    """Print a figure for ``docs/reliability.md``."""
    print(f"\nFIGURE {what}: {figure}", file=sys.stderr)


async def until(condition: object, timeout: float = 30.0) -> None:
    """Wait until *condition*, a function, is true."""
    assert callable(condition)
    end = asyncio.get_running_loop().time() + timeout
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it never came"
        await asyncio.sleep(0.05)
