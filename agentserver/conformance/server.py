"""The server under judgement: started as a process, or already running somewhere."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from agentserver.conformance.http_client import exchange
from agentserver.wire import PORT_VARIABLE, READINESS_ROUTE

HANDLER_VARIABLE = "PARITY_HANDLER"
READY_WITHIN_S = 60.0
NOT_SUPPORTED = 64
_PORTS = range(10_000, 20_000)
_FOREIGN = ("FOUNDRY_", "WS_", "SSE_", "OTEL_", "AGENTSERVER_", "APPLICATIONINSIGHTS_", "PARITY_")


class StartError(Exception):
    """A server could not be started or did not become ready; the message is for who ran the kit."""


class NotSupportedError(StartError):
    """The reference agent says, by exit code 64, that its library has no such handler or setting."""


class Server(Protocol):
    """What cases are run against."""

    host: str
    port: int

    def output(self) -> str | None:
        """All that the server has printed so far, ``None`` where that cannot be seen."""
        ...

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        ...

    def wait(self, seconds: float) -> int | None:
        """The exit code once the process has ended, ``None`` where it has not within *seconds*."""
        ...

    def stop(self) -> None:
        """End the server if it still runs."""
        ...


class Launcher(Protocol):
    """Starts servers."""

    def launch(self, handler: str, env: Mapping[str, str]) -> Server:
        """Start a server of this shape without waiting until it is ready."""
        ...


class ProcessServer:
    """One run of the reference agent as a process, its output kept in a file.

    Args:
        command: The program and its arguments.
        handler: The value of ``PARITY_HANDLER``.
        env: Variables beyond the inherited ones; ``PORT`` may be among them.

    Raises:
        StartError: If the program cannot be run at all.
    """

    host = "127.0.0.1"

    def __init__(self, command: Sequence[str], handler: str, env: Mapping[str, str]) -> None:
        self.port = free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        own = {PORT_VARIABLE: str(self.port), HANDLER_VARIABLE: handler, "PYTHONUNBUFFERED": "1"}
        descriptor, name = tempfile.mkstemp(prefix="conformance-", suffix=".log")
        self._log = Path(name)
        try:
            with open(descriptor, "wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - running the given command is the purpose
                    list(command), env={**inherited, **own, **env}, stdout=log, stderr=subprocess.STDOUT
                )
        except OSError as error:
            self._log.unlink()
            raise StartError(
                f"cannot run {command[0]!r}: {error.strerror}; give --command a program"
            ) from error

    def output(self) -> str | None:
        """All that the process has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def signal(self, number: int) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int | None:
        """The exit code, ``None`` where the process still runs after *seconds*."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the process, by force if it does not go within ten seconds, and drop its output."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
            if self.wait(10) is None:
                self._process.kill()
                self._process.wait()
        with contextlib.suppress(FileNotFoundError):
            self._log.unlink()


class RunningServer:
    """A server that somebody else runs: it can be asked, and that is all."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def output(self) -> str | None:
        """Always ``None``: its output cannot be seen."""
        return None

    def signal(self, number: int) -> None:
        """Never called: the cases that need it are left out."""
        raise NotImplementedError(f"signal {number} cannot be sent to a server that somebody else runs")

    def wait(self, seconds: float) -> int | None:
        """It runs on."""
        del seconds
        return None

    def stop(self) -> None:
        """It is not ours to stop."""


class ProcessLauncher:
    """Starts one *command* for each environment."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    def launch(self, handler: str, env: Mapping[str, str]) -> Server:
        """Start the command with this handler and environment."""
        return ProcessServer(self._command, handler, env)


def wait_until_ready(server: Server, seconds: float = READY_WITHIN_S) -> None:
    """Wait until ``/readiness`` is answered, with whatever status.

    Raises:
        StartError: If the process ends first or the time is over; the message ends with its last output.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        exit_code = server.wait(0)
        if exit_code == NOT_SUPPORTED:
            raise NotSupportedError("the reference agent says that its library has no such thing")
        if exit_code is not None:
            raise StartError(
                f"the server ended with exit code {exit_code} before it was ready{_tail(server)}"
            )
        answer = exchange(
            server.host, server.port, {"method": "GET", "path": READINESS_ROUTE, "timeout_s": 2}
        )
        if "status" in answer:
            return
        time.sleep(0.03)
    raise StartError(
        f"nothing answers {READINESS_ROUTE} at {server.host}:{server.port} within {seconds:.0f} s"
        f"{_tail(server)}"
    )


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now, below those that systems give to outgoing connections.

    Raises:
        StartError: If none is found.
    """
    for number in random.sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number
    raise StartError("of a hundred ports of 127.0.0.1 none is free")


def _tail(server: Server) -> str:
    lines = (server.output() or "").strip().splitlines()[-5:]
    return "; its last output:\n  " + "\n  ".join(lines) if lines else ""
