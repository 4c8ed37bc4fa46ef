"""What agents really see: a few requests a second, each a stream of 40 events over two seconds.

`python -m benchmarks.rates` sends them on time whatever the server does, confines the server to a quarter of
a core, and counts what it uses: CPU seconds for 1,000 requests, idle turns of its loop included, and how long
a client waits for the first event and between two. The servers of a kind run side by side, and each works in
its turn, so that what changes on the machine meanwhile is the same for all.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from .environments import OURS, prepare, python_of, versions
from .load import upgrade
from .measure import APPS, turned
from .plan import SERVERS, Server
from .process import LOAD_CORE, ServerProcess
from .quota import quota
from .report import put_between_markers
from .sink import collector

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- rates:begin -->", "<!-- rates:end -->"
EVENTS, PAUSE = 40, 0.05  # a stream: events, and seconds between two
RATES: tuple[int, ...] = (1, 10, 50)  # requests a second
SECONDS = {1: 12.0, 10: 3.0, 50: 2.5}  # how long each rate is kept up in a round
ROUNDS = 2
SHARE = 0.25  # of a core
LIMIT = 60.0  # seconds that a stream may take
KINDS = {"sse_paced": "events", "ws_paced": "WebSocket", "actions_paced": "actions"}
NAMES = (
    "aiohttp", "ours, quick start", "ours, export on", "azure, quick start", "azure, export on", "bedrock",
    "starlette on uvicorn",
)  # fmt: skip
WITH_ACTIONS = ("aiohttp", "ours, quick start", "ours, export on")

_TOKEN = re.compile(rb'"token":')
_ID = re.compile(rb'"invocation_id": ?"([^"]+)"')
_LAST_CHUNK = b"0\r\n\r\n"
_BODY = json.dumps({"prompt": "p" * 64}).encode()


@dataclass
class Stream:
    """One request, in the client's clock."""

    sent: float
    seen: list[float] = field(default_factory=list[float])


@dataclass(frozen=True)
class Figures:
    """What one server showed at one rate; times in milliseconds."""

    cpu_per_thousand: float
    first: tuple[float, float, float]
    gap: tuple[float, float, float]


# By kind and name of the server, then by rate.
Found: TypeAlias = dict[tuple[str, str], dict[int, Figures]]


class Connection(asyncio.Protocol):
    """A connection of the client that carries one stream at a time, or many where `ids` tells them apart."""

    def __init__(self, ended: Callable[[Connection], None]) -> None:
        self.streams: dict[bytes, Stream] = {}
        self.upgraded = asyncio.get_running_loop().create_future()
        self._ended = ended
        self._data = b""
        self._is_websocket = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    @property
    def is_closed(self) -> bool:
        """Whether the server has closed it."""
        return self.transport is None or self.transport.is_closing()

    def send(self, data: bytes) -> None:
        """Write *data*."""
        assert self.transport is not None
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Note when which event came."""
        now = asyncio.get_running_loop().time()
        self._data += data
        if not self.upgraded.done() and self._data.startswith(b"HTTP/1.1 101"):
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            self._is_websocket, self._data = True, rest
            self.upgraded.set_result(head)
        if self._is_websocket:
            self._read_frames(now)
        elif self.streams:
            self._read_events(now)

    def _read_events(self, now: float) -> None:
        stream = self.streams[b""]
        count = len(_TOKEN.findall(self._data))
        stream.seen += [now] * (count - len(stream.seen))
        if self._data.endswith(_LAST_CHUNK):
            self._data = b""
            self._end(b"")

    def _read_frames(self, now: float) -> None:
        while len(self._data) >= 2:
            size, start = self._data[1], 2
            if size == 126:
                size, start = int.from_bytes(self._data[2:4], "big"), 4
            if len(self._data) < start + size:
                return
            frame, self._data = self._data[start : start + size], self._data[start + size :]
            found = _ID.search(frame)
            name = found[1] if found else b""
            if _TOKEN.search(frame):
                stream = self.streams[name]
                stream.seen.append(now)
                if len(stream.seen) == EVENTS:
                    self._end(name)

    def _end(self, name: bytes) -> None:
        del self.streams[name]
        self._ended(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so, if somebody still waits."""
        if self.streams:
            raise SystemExit(f"the server closed a connection amid a stream: {exc}")


class Client:
    """Sends requests on time, each on a connection that has no other, or all on one for actions."""

    def __init__(self, mode: str, server: Server, port: int) -> None:
        self._mode = mode
        self._path = server.websocket
        self._port = port
        self._idle: list[Connection] = []
        self._all: list[Connection] = []
        self._running = 0
        self._none_left = asyncio.Event()

    async def connect(self, rate: int) -> None:
        """Open as many connections as `rate` streams a second need."""
        wanted = 1 if self._mode == "actions_paced" else int(rate * EVENTS * PAUSE * 1.5) + 2
        while len(self._all) < wanted:
            await self._connect()

    async def run(self, rate: int, seconds: float) -> list[Stream]:
        """Begin `rate` streams a second for `seconds`; all of them, once they have ended."""
        loop = asyncio.get_running_loop()
        begun, streams = loop.time(), list[Stream]()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(begun + number / rate - loop.time())
            streams.append(await self._begin(number))
        self._none_left.clear()
        if self._running:
            try:
                await asyncio.wait_for(self._none_left.wait(), LIMIT)
            except asyncio.TimeoutError:
                raise SystemExit(f"{self._running} streams had not ended after {LIMIT:.0f} s") from None
        return streams

    def close(self) -> None:
        """Close every connection."""
        for connection in self._all:
            if connection.transport is not None:
                connection.transport.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self._ended), "127.0.0.1", self._port)
        if self._mode != "sse_paced":
            connection.send(upgrade(self._path))
            await asyncio.wait_for(connection.upgraded, LIMIT)
        self._all.append(connection)
        self._idle.append(connection)

    async def _begin(self, number: int) -> Stream:
        if self._mode == "actions_paced":
            return self._begin_action(self._all[0], number)
        while self._idle and self._idle[-1].is_closed:  # by a server that keeps idle connections for seconds
            self._all.remove(self._idle.pop())
        if not self._idle:
            await self._connect()
        connection, stream = self._idle.pop(), Stream(asyncio.get_running_loop().time())
        connection.streams[b""] = stream
        self._running += 1
        connection.send(_REQUEST if self._mode == "sse_paced" else _frame(_BODY))
        return stream

    def _begin_action(self, connection: Connection, number: int) -> Stream:
        ids = {"invocation_id": f"inv-{number:05}", "session_id": "session-0001"}
        stream = connection.streams[ids["invocation_id"].encode()] = Stream(asyncio.get_running_loop().time())
        self._running += 1
        connection.send(_frame(json.dumps({"action": "invoke", **ids, "payload": {"prompt": "p"}}).encode()))
        return stream

    def _ended(self, connection: Connection) -> None:
        self._running -= 1
        if self._mode != "actions_paced":
            self._idle.append(connection)
        if not self._running:
            self._none_left.set()


_REQUEST = (
    b"POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


def _frame(text: bytes) -> bytes:
    """A text frame, masked with noughts, which changes nothing."""
    size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + text


class Running:
    """A server at work, and what it has shown so far."""

    def __init__(self, mode: str, server: Server, process: ServerProcess) -> None:
        self.server = server
        self._mode = mode
        self._process = process
        self._used = dict.fromkeys(RATES, 0.0)
        self._streams: dict[int, list[Stream]] = {rate: [] for rate in RATES}

    async def warm_up(self) -> None:
        """What is made once is not what a request costs."""
        client = Client(self._mode, self.server, self._process.port)
        await client.connect(10)
        await client.run(10, 0.3)
        client.close()

    async def measure(self, rate: int) -> None:
        """One round, on connections of its own that are open before it begins."""
        client = Client(self._mode, self.server, self._process.port)
        try:
            await client.connect(rate)
            before = self._process.cpu_seconds()
            self._streams[rate] += await client.run(rate, SECONDS[rate])
            self._used[rate] += self._process.cpu_seconds() - before
        finally:
            client.close()

    def figures(self, rate: int) -> Figures:
        """Over all rounds."""
        streams = self._streams[rate]
        first = [stream.seen[0] - stream.sent for stream in streams]
        gaps = [later - one for s in streams for one, later in zip(s.seen, s.seen[1:], strict=False)]
        return Figures(self._used[rate] / len(streams) * 1000, _percentiles(first), _percentiles(gaps))


def _percentiles(seconds: list[float]) -> tuple[float, float, float]:
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * p))] * 1e3 for p in (0.5, 0.95, 0.99))
    return p50, p95, p99


def _run(kinds: list[str], servers: list[Server]) -> tuple[Found, bool]:
    found: Found = {}
    confined = True
    with collector() as address:
        for mode in kinds:
            able = [s for s in servers if mode != "actions_paced" or s.name in WITH_ACTIONS]
            with ExitStack() as stack:
                running: list[Running] = []
                for server in able:
                    confine = stack.enter_context(quota(SHARE))
                    process = stack.enter_context(_start(mode, server, address))
                    confined = confined and confine is not None
                    if confine is not None:
                        confine(process.pid)
                    running.append(Running(mode, server, process))
                    asyncio.run(running[-1].warm_up())
                _take_turns(running)
                for one in running:
                    found[mode, one.server.name] = {rate: one.figures(rate) for rate in RATES}
                    print(mode, one.server.name, found[mode, one.server.name], file=sys.stderr, flush=True)
    return found, confined


def _start(mode: str, server: Server, collector_address: str) -> ServerProcess:
    variables = {"BENCH_EVENTS": str(EVENTS), "BENCH_PAUSE": str(PAUSE), **server.variables}
    if server.exports:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector_address
    command = [str(python_of(server.environment)), str(APPS / server.app), mode]
    return ServerProcess(command, variables, server.readiness)


def _take_turns(running: list[Running]) -> None:
    for rate in RATES:
        for number in range(ROUNDS):
            for one in turned(running, number):
                asyncio.run(one.measure(rate))


def _table(found: Found) -> str:
    lines = [
        "| | server | requests a second | CPU for 1,000 requests | to aiohttp | first event p50, p95, p99 "
        "| between events p50, p95, p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for mode, title in KINDS.items():
        for rate in RATES:
            for (kind, name), figures in found.items():
                if kind == mode:
                    own, base = figures[rate], found.get((mode, "aiohttp"), figures)[rate]
                    lines.append(
                        f"| {title} | {name} | {rate} | {own.cpu_per_thousand:.2f} s "
                        f"| {own.cpu_per_thousand / base.cpu_per_thousand:.2f} "
                        f"| {_three(own.first)} | {_three(own.gap)} |"
                    )
    return "\n".join(lines)


def _three(times: tuple[float, float, float]) -> str:
    return ", ".join(f"{time:.1f}" for time in times) + " ms"


def _about(confined: bool, load: float) -> str:
    ours, today = versions(OURS), datetime.datetime.now(datetime.timezone.utc).date()
    share = f"confined to {SHARE} of a core" if confined else "on a whole core (no quota could be set here)"
    return (
        f"Measured on {today}: each request a stream of {EVENTS} events, one every "
        f"{PAUSE * 1e3:.0f} ms; the server {share}, the client on another. "
        f"{ROUNDS} rounds, the servers' order turned with each. Python {ours['python']}, "
        f"aiohttp {ours['aiohttp']}, {platform.system()} {platform.release()}; "
        f"load average at the start {load:.1f}."
    )


def main() -> None:
    """Measure, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates", description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of " + ", ".join(KINDS))
    parser.add_argument("--servers", default=";".join(NAMES), help="names of plan.SERVERS, with semicolons")
    parser.add_argument("--page", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    servers = [server for server in SERVERS if server.name in options.servers.split(";")]
    for environment in dict.fromkeys(server.environment for server in servers):
        prepare(environment)
    os.sched_setaffinity(0, {LOAD_CORE})
    load = os.getloadavg()[0]
    found, confined = _run(options.kinds.split(","), servers)
    text = f"{_about(confined, load)}\n\n{_table(found)}"
    print(text)
    if options.page:
        PAGE.write_text(put_between_markers(PAGE.read_text(), text, BEGIN, END))


if __name__ == "__main__":
    main()
