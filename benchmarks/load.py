"""The load: the bytes that are sent, and the C client that sends them (`load.c`)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .plan import Load
from .process import LOAD_CORE, on_core

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figures:
    """What one run of the client saw."""

    replies: int
    seconds: float
    client_cpu_seconds: float
    bytes: int
    p50_us: float
    p99_us: float
    reconnects: int


def build_client(folder: Path) -> Path:
    """Compile the client into `folder`."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("the load client needs a C compiler (cc) on the path; install gcc or clang")
    program = folder / "load"
    subprocess.run([compiler, "-O2", "-o", program, HERE / "load.c"], check=True)
    return program


class Client:
    """The load client with its connections open; `run` loads the server."""

    def __init__(self, program: Path, folder: Path, load: Load, port: int, websocket: str) -> None:
        self._reply = folder / "reply"
        self._expected = _expected(load)
        message, handshake = folder / "message", folder / "handshake"
        message.write_bytes(_http_request(load) if load.mode in ("http", "sse") else _frame(load))
        handshake.write_bytes(upgrade(websocket))
        is_ws = load.mode in ("ws", "actions")
        arguments = [
            str(port),
            str(load.connections),
            str(message),
            str(handshake if is_ws else ""),
            str(self._reply),
        ]
        with on_core(LOAD_CORE):
            self._process = subprocess.Popen(
                [program, ("ws" if is_ws else "http") + ",awake" * load.stays_awake, *arguments],
                text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        self._line()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, seconds: float, replies: int = 0) -> Figures:
        """Load the server for `seconds`, or until `replies` have come; 0 is no bound."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"run {seconds} {replies}\n")
        self._process.stdin.flush()
        return Figures(**json.loads(self._line()))

    def check(self) -> None:
        """Refuse a server that answers something else than it was asked for. Needs a run."""
        piece, times = self._expected
        found = self._reply.read_bytes()[: (len(piece) + 500) * times].count(piece)
        if found < times:
            raise SystemExit(
                f"{times} of {piece[:80]!r} asked, {found} came: {self._reply.read_bytes()[:2000]!r}"
            )

    def _line(self) -> str:
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load client gave up; its sentence is above")
        return line


def _body(load: Load) -> bytes:
    """A JSON text of exactly `load.size` bytes, so that servers which insist on JSON can do the same work."""
    empty = json.dumps({"message": ""})
    return json.dumps({"message": "x" * (load.size - len(empty))}).encode()


def _payload(load: Load) -> bytes:
    if load.mode == "actions":
        ids = {"invocation_id": "inv-0001", "session_id": "session-0001"}
        return json.dumps({"action": "invoke", **ids, "payload": json.loads(_body(load))}).encode()
    return _body(load)


def _expected(load: Load) -> tuple[bytes, int]:
    if load.mode == "sse":
        return b"data:", load.units_per_reply
    if load.mode == "actions":
        return b'"inv-0001"', 1
    return _body(load)[:4096], 1


def _http_request(load: Load) -> bytes:
    body = _body(load)
    return (
        "POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def upgrade(path: str) -> bytes:
    """The request for a WebSocket on *path*."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def _frame(load: Load) -> bytes:
    payload = _payload(load)
    size = len(payload)
    head = bytes([0x82 if load.binary else 0x81])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    wide = mask * (size // 4 + 1)
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(wide[:size], "big")
    return head + mask + masked.to_bytes(size, "big")
