"""Nothing leaves the machine that nobody asked for."""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

NOWHERE = "192.0.2.1"  # for documentation only (RFC 5737)


async def output_of(*command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 50)
    return process.returncode, output.decode()


async def in_a_namespace_of_its_own(*command: str) -> str:
    unshare = shutil.which("unshare")
    if unshare is None or (await output_of(unshare, "-rn", "true"))[0] != 0:
        pytest.skip("this machine gives no network namespace")
    code, output = await output_of(unshare, "-rn", *command)
    assert code == 0, output
    return output


async def test_an_agents_whole_life_stays_on_the_machine() -> None:
    output = await in_a_namespace_of_its_own(sys.executable, "-m", "tests.hardening.lonely_agent")
    assert output.endswith("served; left the machine 0 times\n")


async def test_an_attempt_to_leave_would_be_counted() -> None:
    program = (
        "import socket; from tests.hardening.lonely_agent import *; bring_loopback_up()\n"
        f"try: socket.socket().connect(('{NOWHERE}', 80))\n"
        "except OSError: pass\n"
        "print(packets_without_a_route())"
    )
    output = await in_a_namespace_of_its_own(sys.executable, "-S", "-c", "import site\n" + site() + program)
    assert int(output.split()[-1]) > 0


def site() -> str:
    # Without the guard, which would refuse the attempt before the kernel sees it.
    return f"import sys; sys.path[:0] = {[path for path in sys.path if 'loopback_only' not in path]!r}\n"


def test_a_connection_to_another_machine_is_refused_and_written_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    monkeypatch.setenv("AGENTSERVER_REFUSED_CONNECTIONS", str(report))
    with socket.socket() as client, pytest.raises(PermissionError, match="only this machine"):
        client.connect((NOWHERE, 80))
    with pytest.raises(PermissionError, match="only this machine"):
        socket.getaddrinfo("somewhere.example", 80)
    assert [line.split()[:2] for line in report.read_text().splitlines()] == [
        ["socket.connect", NOWHERE],
        ["socket.getaddrinfo", "somewhere.example"],
    ]


async def test_the_guard_is_in_the_processes_that_a_test_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    monkeypatch.setenv("AGENTSERVER_REFUSED_CONNECTIONS", str(report))
    program = f"import socket; socket.create_connection(('{NOWHERE}', 80))"
    code, output = await output_of(sys.executable, "-c", program)
    assert (code, "only this machine" in output) == (1, True)
    assert "socket.connect" in report.read_text()
