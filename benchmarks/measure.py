"""Takes the samples: every round asks every server once, in an order that turns with the round."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .environments import python_of
from .load import Client
from .plan import EVENTS, Load, Mode, Probe, Server
from .process import SERVER_CORE, ServerProcess, on_core

APPS = Path(__file__).parent / "apps"
IDLE_WEBSOCKETS = 1000
MB = 1e6
T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """How long and how often. Seconds of wall time; `endurance` in requests."""

    rounds: int
    seconds: float
    warm_up: float
    endurance: int


@dataclass(frozen=True)
class Sample:
    """One figure of one server in one round, in the case's unit; `more` is what stood beside it."""

    case: str
    server: str
    round: int
    value: float
    more: dict[str, float]


class Bench:
    """The machine at work: the compiled client, a folder for its files, and the collector's address."""

    def __init__(self, settings: Settings, program: Path, folder: Path, collector: str) -> None:
        self.settings = settings
        self._program = program
        self._folder = folder
        self._collector = collector

    def loads(self, cases: Sequence[Load], servers: Sequence[Server]) -> Iterator[Sample]:
        """Every load on every server that can do it; a mode's servers run side by side, one of them busy."""
        modes: dict[Mode, None] = dict.fromkeys(case.mode for case in cases)
        for mode in modes:
            able = [server for server in servers if mode in server.modes]
            with ExitStack() as stack:
                running = [(server, stack.enter_context(self.start(server, mode))) for server in able]
                for number in range(self.settings.rounds):
                    for case in (case for case in cases if case.mode == mode):
                        there = [pair for pair in running if _is_there_for(pair[0], case)]
                        for server, process in turned(there, number):
                            yield self._load(case, server, process, number)

    def probes(self, cases: Sequence[Probe], servers: Sequence[Server]) -> Iterator[Sample]:
        """Every probe on every server."""
        for case in cases:
            able = [server for server in servers if case.mode in server.modes and _is_there_for(server, case)]
            if case.name == "endurance":
                able = [server for server in able if server.endurance]
            for number in range(min(case.rounds or self.settings.rounds, self.settings.rounds)):
                for server in turned(able, number):
                    value, more = PROBES[case.name](self, server)
                    yield _told(Sample(case.name, server.name, number, value, more))

    def start(self, server: Server, mode: Mode) -> ServerProcess:
        """`server` at work in `mode`."""
        variables = {"BENCH_EVENTS": str(EVENTS), **server.variables}
        if server.exports:
            variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = self._collector
        command = [str(python_of(server.environment)), str(APPS / server.app), mode]
        return ServerProcess(command, variables, server.readiness)

    def client(self, case: Load, server: Server, process: ServerProcess) -> Client:
        """The load client, connected."""
        return Client(self._program, self._folder, case, process.port, server.websocket)

    def _load(self, case: Load, server: Server, process: ServerProcess, number: int) -> Sample:
        with self.client(case, server, process) as client:
            client.run(self.settings.warm_up)
            client.check()
            before = process.cpu_seconds()
            seen = client.run(self.settings.seconds)
            used = process.cpu_seconds() - before
        units = seen.replies * case.units_per_reply
        more = {
            "per_second": units / seen.seconds,
            "p50_us": seen.p50_us,
            "p99_us": seen.p99_us,
            "server_busy": used / seen.seconds,
            "client_busy": seen.client_cpu_seconds / seen.seconds,
            "reconnects": seen.reconnects,
        }
        return _told(Sample(case.name, server.name, number, used / units * 1e6, more))


def _start(bench: Bench, server: Server) -> tuple[float, dict[str, float]]:
    with bench.start(server, "http") as process:
        return process.start_seconds * 1e3, {"cpu_ms": process.cpu_seconds() * 1e3}


def _imports(bench: Bench, server: Server) -> tuple[float, dict[str, float]]:
    taken = "time.perf_counter() - begun, len(sys.modules)"
    code = f"import sys, time\nbegun = time.perf_counter()\n{server.imports}\nprint({taken})"
    with on_core(SERVER_CORE):
        done = subprocess.run(
            [python_of(server.environment), "-c", code], check=True, capture_output=True, text=True
        )
    seconds, modules = done.stdout.split()
    return float(seconds) * 1e3, {"modules": float(modules)}


def _memory(bench: Bench, server: Server) -> tuple[float, dict[str, float]]:
    with bench.start(server, "http") as process:
        _settle(process)
        return process.memory() / MB, {"pss_mb": process.memory("Pss") / MB}


def _idle_websocket(bench: Bench, server: Server) -> tuple[float, dict[str, float]]:
    warm_up = Load("", "", "ws", 50, 64)
    idle = Load("", "", "ws", IDLE_WEBSOCKETS, 64)
    with bench.start(server, "ws") as process, bench.client(warm_up, server, process) as first:
        first.run(0.2)
        before = process.memory()
        with bench.client(idle, server, process):
            _settle(process)
            return (process.memory() - before) / IDLE_WEBSOCKETS / 1e3, {}


def _endurance(bench: Bench, server: Server) -> tuple[float, dict[str, float]]:
    case = Load("", "", "http", 32, 64)
    tenth = bench.settings.endurance // 10
    seen: list[float] = []
    with bench.start(server, "http") as process, bench.client(case, server, process) as client:
        for _ in range(10):
            client.run(0, tenth)
            seen.append(process.memory() / MB)
    more = {f"mb_after_{(number + 1) * tenth}": value for number, value in enumerate(seen)}
    return seen[-1] - seen[0], more


PROBES: dict[str, Callable[[Bench, Server], tuple[float, dict[str, float]]]] = {
    "start": _start,
    "imports": _imports,
    "memory": _memory,
    "idle_websocket": _idle_websocket,
    "endurance": _endurance,
}


def _settle(process: ServerProcess) -> None:
    """Wait until the server has been idle for a tenth of a second."""
    before = -1.0
    while process.cpu_seconds() - before > 0.001:
        before = process.cpu_seconds()
        time.sleep(0.1)


def _is_there_for(server: Server, case: Load | Probe) -> bool:
    return not server.only or case.name in server.only


def turned(items: Sequence[T], by: int) -> list[T]:
    """*items* in an order that begins with another of them each time."""
    by %= max(1, len(items))
    return [*items[by:], *items[:by]]


def _told(sample: Sample) -> Sample:
    print(f"{sample.case:15} {sample.server:22} {sample.value:10.1f}", file=sys.stderr, flush=True)
    return sample
