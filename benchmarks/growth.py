"""`python -m benchmarks.growth`: does a request stay as cheap as connections and sessions grow in number?

Connections: all of them open, all of them at work in turn. Sessions: requests over one connection, at least
2,000 for a figure, each of the next of so many sessions. The figures are CPU microseconds of the server for
one request, and how much its memory has grown for each connection or session.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .environments import OURS, prepare, python_of, versions
from .load import Client, build_client
from .measure import APPS
from .plan import SERVERS, Load, Mode, Server
from .process import LOAD_CORE, ServerProcess
from .report import put_between_markers

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- growth:begin -->", "<!-- growth:end -->"
CONNECTIONS = (1, 10, 100, 1000, 5000)
SESSIONS = (1, 10, 100, 1000, 10_000, 100_000)
REQUESTS = 20_000  # at each number of connections
NAMES = ("aiohttp", "ours, quick start")
_BATCH = 50  # requests in one write
_LEAST = 2000  # requests for a figure of sessions


@dataclass(frozen=True)
class Figure:
    """What a server showed at one number of connections or sessions.

    Attributes:
        cpu: Microseconds for a request.
        grown: Bytes of memory since the first figure.
    """

    cpu: float
    grown: float


def _start(server: Server, mode: Mode) -> ServerProcess:
    variables = {"BENCH_EVENTS": "1", **server.variables}
    command = [str(python_of(server.environment)), str(APPS / server.app), mode]
    return ServerProcess(command, variables, server.readiness)


def _connections(server: Server, mode: Mode, program: Path, folder: Path) -> list[Figure]:
    found: list[Figure] = []
    with _start(server, mode) as process:
        first = 0.0
        for count in CONNECTIONS:
            load = Load("", "", mode, count, 64)
            with Client(program, folder, load, process.port, server.websocket) as client:
                client.run(0, max(count * 2, 2000))
                before = process.cpu_seconds()
                client.run(0, REQUESTS)
                used = process.cpu_seconds() - before
                memory = process.memory()
            first = first or memory
            found.append(Figure(used / REQUESTS * 1e6, memory - first))
            print(f"{server.name:20} {mode:5} {count:6} {found[-1]}", file=sys.stderr, flush=True)
    return found


def _sessions(server: Server) -> list[Figure]:
    found: list[Figure] = []
    with _start(server, "http") as process, socket.create_connection(("127.0.0.1", process.port)) as client:
        client.settimeout(60)
        _ask(client, 0, 5000, 1)  # what is made once is not what a session costs
        first, done = process.memory(), 0
        for count in SESSIONS:
            requests = max(count - done, _LEAST)
            before = process.cpu_seconds()
            _ask(client, done, done + requests, count)
            used = process.cpu_seconds() - before
            found.append(Figure(used / requests * 1e6, process.memory() - first))
            done = count
            print(f"{server.name:20} sessions {count:6} {found[-1]}", file=sys.stderr, flush=True)
    return found


def _ask(client: socket.socket, first: int, end: int, sessions: int) -> None:
    """The requests from *first* to *end*, in batches, each of the next of so many *sessions*."""
    for start in range(first, end, _BATCH):
        batch = range(start, min(start + _BATCH, end))
        client.sendall(b"".join(_REQUEST % (number % sessions) for number in batch))
        answered, data = 0, b""
        while answered < len(batch):
            data = data[-3:] + (client.recv(1 << 18) or _gave_up())
            answered += data.count(b"\r\n\r\n")
            data = data if not data.endswith(b"\r\n\r\n") else b""


def _gave_up() -> bytes:
    raise SystemExit("the server closed the connection amid its answers")


_LINE = b"POST /invocations?agent_session_id=session-%08d HTTP/1.1\r\n"
_REQUEST = _LINE + b"Host: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"


def _rows(title: str, counts: tuple[int, ...], found: dict[str, list[Figure]]) -> list[str]:
    rows: list[str] = []
    for place, count in enumerate(counts):
        cells: list[str] = []
        for figures in found.values():
            figure, base = figures[place], figures[min(2, len(figures) - 1)]
            each = figure.grown / (count - counts[0]) / 1e3 if count > counts[0] else 0.0
            cells.append(f"{figure.cpu:.1f} µs ({figure.cpu / base.cpu:.2f}) | {each:.2f} KB")
        rows.append(f"| {title} | {count:,} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Measure, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--page", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    servers = [server for server in SERVERS if server.name in NAMES]
    for environment in dict.fromkeys(server.environment for server in servers):
        prepare(environment)
    os.sched_setaffinity(0, {LOAD_CORE})
    head = ["", "how many"]
    for name in NAMES:
        head += [f"{name}: CPU a request (to that at 100)", "memory of each more"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    load = os.getloadavg()[0]
    modes: dict[Mode, str] = {"http": "connections, POST", "ws": "connections, WebSocket"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build_client(folder)
        for mode, title in modes.items():
            found = {server.name: _connections(server, mode, program, folder) for server in servers}
            lines += _rows(title, CONNECTIONS, found)
    lines += _rows("sessions", SESSIONS, {server.name: _sessions(server) for server in servers})
    ours, today = versions(OURS), datetime.datetime.now(datetime.timezone.utc).date()
    text = (
        f"Measured on {today}: Python {ours['python']}, aiohttp {ours['aiohttp']}, {platform.system()} "
        f"{platform.release()}; load average at the start {load:.1f}.\n\n" + "\n".join(lines)
    )
    print(text)
    if options.page:
        PAGE.write_text(put_between_markers(PAGE.read_text(), text, BEGIN, END))


if __name__ == "__main__":
    main()
