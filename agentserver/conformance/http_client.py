"""An HTTP/1.1 client over a bare socket: it sends what it is told, right or wrong, and reports what came."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

from agentserver.conformance.observation import Answer
from agentserver.conformance.stimulus import body_pieces, describe_body, header_rows, http_head

TIMEOUT_S = 10.0
_VOLATILE = {"date", "server", "connection", "keep-alive", "sec-websocket-accept", "upgrade"}
_NO_BODY = {204, 304}


class Truncated(Exception):  # noqa: N818 - it is an event of the wire, not an error of ours
    """The connection ended before the message did; ``args[0]`` is what came."""


class HttpConnection:
    """One TCP connection to the server.

    Args:
        host: The server's host name or address.
        port: The server's port.
        timeout: Seconds to wait for any single read.

    Raises:
        OSError: If nobody listens.
    """

    def __init__(self, host: str, port: int, timeout: float = TIMEOUT_S) -> None:
        self.host = f"{host}:{port}"
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> HttpConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection in the ordinary way."""
        with contextlib.suppress(OSError):
            self.socket.close()

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send *pieces*, stopping as soon as the server answers or goes away."""
        for piece in pieces:
            if select.select([self.socket], [], [], 0)[0]:
                return
            try:
                self.socket.sendall(piece)
            except OSError:
                return

    def read(self, count: int) -> bytes:
        """Exactly *count* bytes.

        Raises:
            Truncated: If the connection ends first.
        """
        while len(self._buffer) < count:
            self._receive()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to *mark*, without it.

        Raises:
            Truncated: If the connection ends first.
        """
        while mark not in self._buffer:
            self._receive()
        data, _, self._buffer = self._buffer.partition(mark)
        return data

    def read_to_end(self) -> bytes:
        """Everything until the server closes the connection."""
        with contextlib.suppress(Truncated):
            while True:
                self._receive()
        data, self._buffer = self._buffer, b""
        return data

    def _receive(self) -> None:
        try:
            chunk = self.socket.recv(1 << 18)
        except TimeoutError:
            raise
        except OSError:
            chunk = b""
        if not chunk:
            data, self._buffer = self._buffer, b""
            raise Truncated(data)
        self._buffer += chunk

    def closed_within(self, seconds: float) -> bool:
        """Whether the server closes the connection in time, and sends nothing more before."""
        self.socket.settimeout(seconds)
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def read_head(self) -> tuple[int, list[tuple[str, str]]]:
        """The status and the headers of the next response, interim ones skipped by the caller."""
        rows = self.read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        parts = rows[0].split(" ", 2)
        if len(parts) < 2 or not parts[1].isdigit():
            raise Truncated(rows[0].encode("latin-1"))
        headers = [
            (name.strip().lower(), value.strip())
            for name, _, value in (row.partition(":") for row in rows[1:])
        ]
        return int(parts[1]), headers

    def response(self, method: str) -> Answer:
        """Read one response to a request of *method*."""
        interim: list[int] = []
        status, headers = self.read_head()
        while 100 <= status < 200 and status != 101:
            interim.append(status)
            status, headers = self.read_head()
        answer: Answer = {"status": status, "headers": header_map(headers)}
        if interim:
            answer["interim"] = interim
        first = time.monotonic()
        try:
            body = (
                b"" if method == "HEAD" or status in _NO_BODY or status == 101 else self._body(dict(headers))
            )
        except (Truncated, TimeoutError) as cut:
            body = cut.args[0] if isinstance(cut, Truncated) else b""
            answer["truncated"] = True
        if "transfer-encoding" in answer["headers"]:
            answer["body_ms"] = round((time.monotonic() - first) * 1000)
        return {**answer, **describe_body(body)}

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        if "content-length" in headers:
            return self.read(int(headers["content-length"]))
        return self.read_to_end()

    def _chunks(self) -> bytes:
        body = b""
        try:
            while (size := int(self.read_until(b"\r\n").split(b";")[0], 16)) > 0:
                body += self.read(size)
                self.read_until(b"\r\n")
            self.read_until(b"\r\n")
        except (Truncated, ValueError) as cut:
            raise Truncated(body) from cut
        return body


def header_map(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name; one that came twice keeps both values, joined by a comma and a space."""
    kept: dict[str, str] = {}
    for name, value in rows:
        if name not in _VOLATILE:
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return dict(sorted(kept.items()))


def ask(connection: HttpConnection, step: Mapping[str, Any]) -> Answer:
    """Send one HTTP *step* and read its answer, ``{"error": ...}`` where none came."""
    try:
        if "raw_request" in step:
            connection.socket.sendall(str(step["raw_request"]).encode("latin-1"))
            answer = connection.response(str(step["raw_request"]).split(" ", 1)[0])
            return {**answer, "closed": connection.closed_within(2)} if step.get("then_closed") else answer
        connection.socket.sendall(http_head(step, connection.host))
        if "expect" in {name.lower() for name, _ in header_rows(step)}:
            return _ask_after_consent(connection, step)
        connection.send(body_pieces(step))
        if "abort_after_ms" in step:
            time.sleep(step["abort_after_ms"] / 1000)
            connection.close()
            return {"aborted": True}
        return connection.response(step["method"])
    except Truncated:
        return {"error": "closed without a response"}
    except (OSError, ValueError) as error:
        return {"error": type(error).__name__}


def _ask_after_consent(connection: HttpConnection, step: Mapping[str, Any]) -> Answer:
    """Wait for the interim answer that ``Expect: 100-continue`` asks for, then send the body."""
    status, headers = connection.read_head()
    if status != 100:
        return {"status": status, "headers": header_map(headers)}
    connection.socket.sendall(b"".join(body_pieces(step)))
    return {**connection.response(step["method"]), "interim": [status]}


def exchange(host: str, port: int, step: Mapping[str, Any]) -> Answer:
    """One HTTP *step* on a connection of its own."""
    try:
        with HttpConnection(host, port, step.get("timeout_s", TIMEOUT_S)) as connection:
            return ask(connection, step)
    except OSError as error:
        return {"error": type(error).__name__}
