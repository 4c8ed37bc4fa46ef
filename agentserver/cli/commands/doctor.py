"""``agentserver doctor``: says what is wrong, and what to do."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from agentserver._time_limit import wait_for
from agentserver.cli import findings
from agentserver.cli.errors import Exit
from agentserver.cli.findings import Finding, Status
from agentserver.cli.terminal.output import print_json, print_text, styled
from agentserver.wire import LOG_LEVEL_VARIABLE, PORT_VARIABLE

__all__ = ["doctor"]

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_STYLES: Final[Mapping[Status, str]] = {
    Status.OK: "green",
    Status.WARNING: "yellow",
    Status.PROBLEM: "red",
}


def doctor(arguments: argparse.Namespace) -> int:
    """Look at everything, print what was found; 1 if something is wrong."""
    found: list[Finding] = []
    for finding in _look(arguments.target):
        found.append(finding)
        if not arguments.json:
            _show(finding)
    if arguments.json:
        print_json([{**asdict(finding), "status": finding.status.value} for finding in found])
    return Exit.FAILED if any(finding.status is Status.PROBLEM for finding in found) else Exit.OK


def _look(target: str | None) -> Iterator[Finding]:
    directory = Path.cwd()
    yield findings.python()
    yield from findings.packages()
    yield findings.environment()
    yield findings.port()
    yield from findings.files(directory)
    if target is not None:
        yield from asyncio.run(_collect(_examine(target, directory)))


def _show(finding: Finding) -> None:
    status = styled(f"{finding.status.value:<8}", _STYLES[finding.status], sys.stdout)
    advice = f"; {finding.advice}" if finding.advice else ""
    print_text(f"{status} {finding.check}: {finding.words}{advice}")


async def _collect(found: AsyncIterator[Finding]) -> list[Finding]:
    return [finding async for finding in found]


async def _examine(target: str, directory: Path) -> AsyncIterator[Finding]:
    """Start the handler as a process of its own, ask whether it is ready, stop it."""
    port = _free_port()
    environment = {**os.environ, PORT_VARIABLE: str(port), LOG_LEVEL_VARIABLE: "INFO"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentserver.cli", "run", target),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    log: list[str] = []
    reading = asyncio.create_task(_read(process.stderr, log))
    try:
        yield await _started(process, port, reading, log)
        if process.returncode is None:
            yield await _readiness(port)
            for finding in _agreement(log, findings.declared_protocols(directory)):
                yield finding
            yield await _stopped(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _started(
    process: asyncio.subprocess.Process, port: int, reading: asyncio.Task[None], log: list[str]
) -> Finding:
    loop = asyncio.get_running_loop()
    began = loop.time()
    while process.returncode is None and loop.time() - began < _START_SECONDS:
        if await _listens(port):
            return Finding("handler", Status.OK, f"listens after {loop.time() - began:.1f} s")
        await asyncio.sleep(0.05)
    if process.returncode is None:
        process.kill()
        words = f"does not listen on PORT within {_START_SECONDS:g} s"
        advice = "look for what takes so long when it is imported, and for a port of its own"
        return Finding("handler", Status.PROBLEM, words, advice)
    await reading
    words = log[-1].removeprefix("agentserver: error: ") if log else "ended without a word"
    return Finding("handler", Status.PROBLEM, words, f"it ended with exit code {process.returncode}")


async def _readiness(port: int) -> Finding:
    from agentserver.client import InvocationsClient

    async with InvocationsClient(f"http://127.0.0.1:{port}") as client:
        if await client.ready():
            return Finding("readiness", Status.OK, "the handler is ready")
    advice = "GET /readiness says which health check fails"
    return Finding("readiness", Status.PROBLEM, "the handler says that it is not ready", advice)


def _agreement(log: Iterable[str], declared: list[str] | None) -> Iterator[Finding]:
    """Whether ``agent.yaml`` declares what the handler serves, as far as its log says so."""
    served = re.search(r"listening on port \d+, serving ([\w, ]+);", "\n".join(log))
    if declared is None or served is None:
        return
    names = set(served[1].split(", "))
    missing = sorted(set(declared) - names)
    if missing:
        words = f"declares {', '.join(missing)}, but the handler serves {served[1]}"
        yield Finding("agent.yaml", Status.PROBLEM, words, "declare what is served, or serve it")
    else:
        yield Finding("agent.yaml", Status.OK, f"declares {', '.join(declared)}")


async def _stopped(process: asyncio.subprocess.Process) -> Finding:
    process.terminate()
    try:
        code = await wait_for(process.wait(), _STOP_SECONDS)
    except asyncio.TimeoutError:
        words = f"does not end within {_STOP_SECONDS:g} s of SIGTERM"
        return Finding("shutdown", Status.PROBLEM, words, "look for threads and shutdown hooks that wait")
    if code:
        return Finding("shutdown", Status.PROBLEM, f"ended with exit code {code}", "its log says why")
    return Finding("shutdown", Status.OK, "clean, with exit code 0")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _read(stream: asyncio.StreamReader | None, log: list[str]) -> None:
    assert stream is not None
    async for line in stream:
        log.append(line.decode(errors="replace").rstrip())  # noqa: PERF401 - it is read while it grows


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
