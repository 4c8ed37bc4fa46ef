"""`python -m benchmarks.streams`: a thousand streams of actions at once, beside a bare WebSocket handler."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import selectors
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from .environments import OURS, ROOT, prepare, python_of, versions
from .load import upgrade
from .process import LOAD_CORE, ServerProcess
from .report import put_between_markers

PAGE = ROOT / "docs" / "actions.md"
APPS = ROOT / "benchmarks" / "apps"
CONNECTIONS, STREAMS, CHUNKS = 50, 20, 200
TOKEN = "x" * 20
UVLOOP = {"BENCH_LOOP": "uvloop"}
# Name, environment, program, variables; the first is the one that the others are compared with.
SERVERS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("bare WebSocket handler, uvloop", "aiohttp", "streams_bare.py", UVLOOP),
    ("the same, asyncio", "aiohttp", "streams_bare.py", {}),
    ("the same, uvloop, bytes ready-made", "aiohttp", "streams_bare.py", {**UVLOOP, "BENCH_READY": "1"}),
    ("InvocationActionHandler", OURS, "streams_ours.py", {}),
)


@dataclass(frozen=True)
class Sample:
    """One run: all frames of all streams."""

    frames_per_second: float
    cpu_microseconds: float
    client_busy: float


def main() -> None:
    """Measure, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    for environment in dict.fromkeys(server[1] for server in SERVERS):
        prepare(environment)
    os.sched_setaffinity(0, {LOAD_CORE})
    text = f"{_about(options.rounds)}\n\n{_table(_measure(options.rounds))}"
    print(text)
    if options.page:
        PAGE.write_text(put_between_markers(PAGE.read_text(), text))


def _measure(rounds: int) -> list[list[Sample]]:
    variables = {"BENCH_CHUNKS": str(CHUNKS), "BENCH_TOKEN": TOKEN}
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                ServerProcess(
                    [str(python_of(environment)), str(APPS / app)], {**variables, **more}, "/readiness"
                )
            )
            for _, environment, app, more in SERVERS
        ]
        for process in running:
            _run(process)
        taken = [[_run(process) for process in running] for _ in range(rounds)]
    return [list(samples) for samples in zip(*taken, strict=True)]


def _run(process: ServerProcess) -> Sample:
    """Start all streams, read until all their bytes are there, and only then look at them."""
    expected = _expected_size()
    connections = [_connect(process.port) for _ in range(CONNECTIONS)]
    received: dict[socket.socket, list[bytes]] = {connection: [] for connection in connections}
    missing = dict.fromkeys(connections, expected)
    cpu, client, begun = process.cpu_seconds(), time.process_time(), time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.sendall(_invokes())
            selector.register(connection, selectors.EVENT_READ, connection)
        while selector.get_map():
            ready = selector.select(60)
            if not ready:
                _gave_up()
            for key, _ in ready:
                peer: socket.socket = key.data
                data = peer.recv(1 << 20)
                received[peer].append(data or _gave_up())
                missing[peer] -= len(data)
                if missing[peer] <= 0:
                    selector.unregister(peer)
    seconds = time.perf_counter() - begun
    client, cpu = time.process_time() - client, process.cpu_seconds() - cpu
    for connection, pieces in received.items():
        connection.close()
        _check(b"".join(pieces))
    frames = CONNECTIONS * STREAMS * (CHUNKS + 1)
    return Sample(frames / seconds, cpu / frames * 1e6, client / seconds)


def _gave_up() -> bytes:
    raise SystemExit("the server sent less than it should within a minute")


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(upgrade("/invocations_ws"))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += connection.recv(1) or _gave_up()
    assert b" 101 " in answer
    return connection


def _ids(stream: int) -> dict[str, str]:
    return {"invocation_id": f"inv-{stream:04}", "session_id": "session-0001"}


def _invokes() -> bytes:
    payload = {"prompt": "p" * 64}
    texts = [json.dumps({"action": "invoke", **_ids(n), "payload": payload}).encode() for n in range(STREAMS)]
    # Masked with noughts, which changes nothing.
    return b"".join(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text for text in texts)


def _frames_of(stream: int) -> list[bytes]:
    chunks = [
        {"type": "stream_chunk", **_ids(stream), "payload": {"n": n, "token": TOKEN}} for n in range(CHUNKS)
    ]
    frames = [*chunks, {"type": "stream_end", **_ids(stream)}]
    return [json.dumps(frame, separators=(",", ":")).encode() for frame in frames]


def _expected_size() -> int:
    sizes = [len(frame) for stream in range(STREAMS) for frame in _frames_of(stream)]
    return sum(size + (2 if size < 126 else 4) for size in sizes)


def _check(data: bytes) -> None:
    """All frames must be whole, and those of a stream in order."""
    expected = {
        f'"{_ids(stream)["invocation_id"]}"'.encode(): _frames_of(stream) for stream in range(STREAMS)
    }
    at = 0
    while at < len(data):
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        frame, at = data[start : start + size], start + size
        found = frame.index(b'"invocation_id":') + len(b'"invocation_id":')
        if frame != (wanted := expected[frame[found : found + 10]].pop(0)):
            raise SystemExit(f"{wanted!r} should have come, {frame!r} came")
    assert not any(expected.values())


def _about(rounds: int) -> str:
    ours, theirs = versions(OURS), versions("aiohttp")
    if any(ours[name] != theirs[name] for name in ("python", "aiohttp", "uvloop")):
        raise SystemExit("the environments differ; remove benchmarks/.venv")
    return (
        f"Measured on {datetime.datetime.now(datetime.timezone.utc).date().isoformat()}: "
        f"{CONNECTIONS * STREAMS:,} streams of {CHUNKS} chunks over {CONNECTIONS} connections, all at once; "
        f"the median of {rounds} rounds, the ratio within each round (least–most). Python {ours['python']}, "
        f"aiohttp {ours['aiohttp']}, uvloop {ours['uvloop']}, {platform.system()} {platform.release()}; "
        f"load average at the start {os.getloadavg()[0]:.1f}. Every frame was checked: whole, and in order."
    )


def _table(samples: list[list[Sample]]) -> str:
    lines = [
        "| server | frames a second | ratio | CPU a frame | ratio | client busy |",
        "|---|---|---|---|---|---|",
    ]
    for (name, *_), own in zip(SERVERS, samples, strict=True):
        pairs = list(zip(own, samples[0], strict=True))
        speed = [a.frames_per_second / b.frames_per_second for a, b in pairs]
        cost = [a.cpu_microseconds / b.cpu_microseconds for a, b in pairs]
        lines.append(
            f"| {name} | {median(s.frames_per_second for s in own):,.0f} | {_spread(speed)} "
            f"| {median(s.cpu_microseconds for s in own):.1f} µs | {_spread(cost)} "
            f"| {median(s.client_busy for s in own):.0%} |"
        )
    return "\n".join(lines)


def _spread(ratios: list[float]) -> str:
    if min(ratios) == max(ratios) == 1:
        return "1"
    return f"**{median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"


if __name__ == "__main__":
    main()
