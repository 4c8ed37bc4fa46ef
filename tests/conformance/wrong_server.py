"""A proxy before a right server that makes it wrong in one thing: who judges the judge.

It takes every answer apart and puts it together again, so that the untouched server also shows that the
proxy changes nothing by itself.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agentserver.conformance.server import Server

_REQUEST_LINE = re.compile(rb"^([A-Z]+) (\S*) HTTP/1\.[01]\r\n", re.MULTILINE)
_PIECE = 1 << 18


@dataclass
class Head:
    """The head of an answer, and the request that it answers."""

    method: str
    path: str
    status: int
    headers: list[tuple[str, str]]
    version: str = "HTTP/1.1"

    def get(self, name: str) -> str:
        """The first value of a header, empty where it is missing."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def drop(self, name: str) -> None:
        """Remove a header."""
        self.headers = [(key, value) for key, value in self.headers if key.lower() != name]

    def put(self, name: str, value: str) -> None:
        """Replace a header."""
        self.drop(name)
        self.headers.append((name, value))

    def to_bytes(self) -> bytes:
        """The head as it goes over the wire."""
        lines = [
            f"{self.version} {self.status} Status",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass(frozen=True)
class Frame:
    """A WebSocket frame of the server. *first* is its first byte: FIN, reserved bits, opcode."""

    first: int
    payload: bytes

    @property
    def opcode(self) -> int:
        """The kind of the frame."""
        return self.first & 0x0F

    def to_bytes(self) -> bytes:
        """The frame as it goes over the wire, unmasked."""
        length = len(self.payload)
        if length < 126:
            return struct.pack("!BB", self.first, length) + self.payload
        if length < 65_536:
            return struct.pack("!BBH", self.first, 126, length) + self.payload
        return struct.pack("!BBQ", self.first, 127, length) + self.payload


FrameChange = Callable[[Frame], list[Frame]]


def _same_frame(frame: Frame) -> list[Frame]:
    return [frame]


def _same_frames() -> FrameChange:
    return _same_frame


def _same_output(text: str) -> str:
    return text


def _same_code(code: int | None) -> int | None:
    return code


@dataclass(frozen=True)
class Wrong:
    """What a wrong server does otherwise; by default nothing.

    Args:
        request: Changes the head of a request before the right server gets it.
        head: Changes the head of an answer in place.
        body: Changes the whole body of an answer, which is sent in one piece then.
        conversation: For each WebSocket connection a function that says what is sent instead of a frame.
        greeting: Sent at the start of a WebSocket connection.
        output: Changes all that the server has printed so far.
        exit_code: Changes the exit code.
        clean_end: An answer that was cut ends as if it was whole.
        hold_open: A connection is not closed where the right server closes it.
        close_each: A connection is closed after every answer, without a word.
        most: So many connections at once; the next one is closed at once. 0: no limit.
        one_at_a_time: One exchange of the whole server after the other.
        when_gone: What is answered where the right server is gone.
        listen: The address to listen on.
    """

    request: Callable[[bytes], bytes] | None = None
    head: Callable[[Head], None] | None = None
    body: Callable[[Head, bytes], bytes] | None = None
    conversation: Callable[[], FrameChange] = _same_frames
    greeting: bytes = b""
    output: Callable[[str], str] = _same_output
    exit_code: Callable[[int | None], int | None] = _same_code
    clean_end: bool = False
    hold_open: bool = False
    close_each: bool = False
    most: int = 0
    one_at_a_time: bool = False
    when_gone: bytes = b""
    listen: str = ""


class _Cut(Exception):  # noqa: N818 - an event of the wire
    """The connection ended in the middle; ``args[0]`` is what came."""


class _Reader:
    """Reads exact amounts from a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def _fill(self) -> None:
        try:
            data = self._socket.recv(_PIECE)
        except OSError:
            data = b""
        if not data:
            rest = bytes(self._buffer)
            self._buffer.clear()
            raise _Cut(rest)
        self._buffer += data

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._fill()
        return self._take(count)

    def some(self, most: int) -> bytes:
        if not self._buffer:
            self._fill()
        return self._take(min(most, len(self._buffer)))

    def until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            self._fill()
        return self._take(end + len(mark))


@dataclass
class _Pair:
    """A client's connection and the one to the right server."""

    client: socket.socket
    server: socket.socket
    asked: deque[tuple[str, str]] = field(default_factory=deque[tuple[str, str]])

    def end(self) -> None:
        """End the connection to the right server in the ordinary way."""
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Let the close of the connection to the right server be a reset, and wake who reads from it."""
        with contextlib.suppress(OSError):
            self.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.shutdown(socket.SHUT_RD)


class WrongServer:
    """The right server *inner*, seen through one thing that is *wrong*. It is a ``Server`` itself."""

    host = "127.0.0.1"

    def __init__(self, inner: Server, wrong: Wrong) -> None:
        self._inner = inner
        self._wrong = wrong
        self._open = 0
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._listener = socket.create_server((wrong.listen, 0), backlog=200)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def output(self) -> str | None:
        printed = self._inner.output()
        return None if printed is None else self._wrong.output(printed)

    def signal(self, number: int) -> None:
        self._inner.signal(number)

    def wait(self, seconds: float) -> int | None:
        return self._wrong.exit_code(self._inner.wait(seconds))

    def stop(self) -> None:
        """Stop listening; the right server goes on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    # --- connections

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open += 1
            refused = 0 < self._wrong.most < self._open
        try:
            if not refused:
                self._connect(client)
        except OSError:
            with contextlib.suppress(OSError):
                client.sendall(self._wrong.when_gone)
                client.shutdown(socket.SHUT_WR)
            _until_left(client)  # a close with something unread is a reset, which overtakes the answer
        finally:
            with self._lock:
                self._open -= 1
            client.close()

    def _connect(self, client: socket.socket) -> None:
        address = client.getsockname()[0]
        with socket.create_connection((address, self._inner.port)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            asking = threading.Thread(target=self._ask, args=(pair,), daemon=True)
            asking.start()
            self._answer_all(pair)
            if self._wrong.hold_open or self._wrong.when_gone:
                _until_left(client)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            asking.join()

    def _ask(self, pair: _Pair) -> None:
        """Carry what the client sends to the right server; a reset stays a reset."""
        try:
            while data := pair.client.recv(_PIECE):
                lines = _REQUEST_LINE.findall(data) if data[:1].isalpha() else []
                pair.asked.extend((method.decode(), path.decode("latin-1")) for method, path in lines)
                changed = self._wrong.request(data) if lines and self._wrong.request else data
                pair.server.sendall(changed)
        except ConnectionResetError:
            pair.reset()
        except OSError:
            pair.end()
        else:
            pair.end()

    def _answer_all(self, pair: _Pair) -> None:
        reader = _Reader(pair.server)
        turn = self._turn if self._wrong.one_at_a_time else contextlib.nullcontext()
        with contextlib.suppress(_Cut, OSError), turn:
            while self._answer(pair, reader) and not self._wrong.close_each:
                pass
            return
        with contextlib.suppress(OSError):
            pair.client.sendall(self._wrong.when_gone)

    # --- answers

    def _answer(self, pair: _Pair, reader: _Reader) -> bool:
        """Carry one answer; whether another one may follow."""
        head = _parse_head(reader.until(b"\r\n\r\n"), pair)
        interim = head.status < 200 and head.status != 101
        if self._wrong.head:
            self._wrong.head(head)
        if interim and head.status < 200:
            pair.asked.appendleft((head.method, head.path))
            pair.client.sendall(head.to_bytes())
        elif head.status == 101:
            pair.client.sendall(head.to_bytes())
            self._carry_frames(pair, reader)
            return False
        elif self._wrong.body:
            self._carry_changed(pair, reader, head, self._wrong.body)
        else:
            pair.client.sendall(head.to_bytes())
            self._carry_body(pair, reader, head)
        return True

    def _carry_changed(
        self, pair: _Pair, reader: _Reader, head: Head, change: Callable[[Head, bytes], bytes]
    ) -> None:
        pieces: list[bytes] = []
        try:
            _read_body(reader, head, pieces.append)
            whole = True
        except _Cut as cut:
            pieces.append(cut.args[0])
            whole = False
        body = change(head, b"".join(pieces))
        if head.get("content-length"):
            head.put("Content-Length", str(len(body)))
        elif head.get("transfer-encoding"):
            body = b"%x\r\n%b\r\n" % (len(body), body) + (b"0\r\n\r\n" if whole else b"")
        pair.client.sendall(head.to_bytes() + (b"" if head.method == "HEAD" else body))
        if not whole:
            raise _Cut(b"")

    def _carry_body(self, pair: _Pair, reader: _Reader, head: Head) -> None:
        chunked = bool(head.get("transfer-encoding"))

        def send(piece: bytes) -> None:
            pair.client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)

        try:
            _read_body(reader, head, send)
        except _Cut:
            if not self._wrong.clean_end:
                raise
        if chunked and head.method != "HEAD":
            pair.client.sendall(b"0\r\n\r\n")

    def _carry_frames(self, pair: _Pair, reader: _Reader) -> None:
        pair.client.sendall(self._wrong.greeting)
        change = self._wrong.conversation()
        while True:
            first, second = reader.exactly(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(reader.exactly(2 if length == 126 else 8), "big")
            frame = Frame(first, reader.exactly(length))
            for changed in change(frame):
                pair.client.sendall(changed.to_bytes())


def _until_left(client: socket.socket) -> None:
    """Keep a connection that the right server has closed, until the client ends it."""
    client.settimeout(15)
    with contextlib.suppress(OSError):
        while client.recv(_PIECE):
            pass


def _parse_head(data: bytes, pair: _Pair) -> Head:
    rows = data.decode("latin-1").rstrip("\r\n").split("\r\n")
    version, status, *_ = rows[0].split(" ")
    method, path = pair.asked.popleft() if pair.asked else ("", "")
    headers = [(name, value.strip()) for name, _, value in (row.partition(":") for row in rows[1:])]
    return Head(method, path, int(status), headers, version)


def _read_body(reader: _Reader, head: Head, take: Callable[[bytes], None]) -> None:
    if head.method == "HEAD" or head.status in (204, 304):
        return
    if head.get("transfer-encoding"):
        while size := int(reader.until(b"\r\n").strip(), 16):
            take(reader.exactly(size))
            reader.exactly(2)
        reader.exactly(2)
    else:
        left = int(head.get("content-length") or 0)
        while left:
            piece = reader.some(left)
            left -= len(piece)
            take(piece)
