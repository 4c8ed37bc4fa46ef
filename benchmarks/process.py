"""A server as a process: pinned to its core, watched from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType

SERVER_CORE = 0
LOAD_CORE = 1
START_LIMIT = 60.0
_CPU_CLOCK_SCHED = 2  # linux: the low bits of a clock id that make it a process's CPU time in nanoseconds


@contextlib.contextmanager
def on_core(core: int) -> Generator[None, None, None]:
    """Processes started inside are bound to `core`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ServerProcess:
    """A server, started and answering 200 on its readiness path when the constructor returns.

    Its output goes through a pipe to a process on the load's core, as a container's does.
    `start_seconds` is the wall time from before the process existed to the end of the first 200.
    """

    def __init__(self, command: list[str], environment: dict[str, str], readiness: str) -> None:
        self.port = _free_port()
        environment = {"PATH": os.defpath, "HOME": "/nonexistent", **environment, "PORT": str(self.port)}
        self._output = subprocess.Popen(["tail", "-c", "4000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        begun = time.perf_counter()
        with on_core(SERVER_CORE):
            self._process = subprocess.Popen(
                command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                stdout=self._output.stdin, stderr=subprocess.STDOUT,
            )  # fmt: skip
        assert self._output.stdin is not None
        self._output.stdin.close()
        while not _answers(self.port, readiness):
            if self._process.poll() is not None or time.perf_counter() - begun > START_LIMIT:
                raise SystemExit(f"{' '.join(command)} did not start:\n{self.close()}")
            time.sleep(0.0005)
        self.start_seconds = time.perf_counter() - begun

    @property
    def pid(self) -> int:
        """The process, all of which is one."""
        return self._process.pid

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> str:
        """Kill the server and its children; its last words."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._output.stdout is not None
        with self._output.stdout as words:
            said = words.read().decode(errors="replace")
        self._output.wait()
        return said

    def cpu_seconds(self) -> float:
        """CPU time of the process and its children so far, to the nanosecond."""
        return sum(time.clock_gettime(~pid << 3 | _CPU_CLOCK_SCHED) for pid in self._family())

    def memory(self, kind: str = "Rss") -> float:
        """Bytes of memory of the process and its children; `kind` is `Rss` or `Pss`."""
        return sum(_rollup(pid, kind) for pid in self._family())

    def _family(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
        return found


def _rollup(pid: int, kind: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith(f"{kind}:"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int, path: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            return connection.recv(1024).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False
