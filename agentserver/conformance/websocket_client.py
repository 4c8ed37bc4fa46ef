"""A WebSocket client (RFC 6455) over a bare socket: it can send every frame, wrong ones too."""

from __future__ import annotations

import base64
import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

from agentserver.conformance.http_client import TIMEOUT_S, HttpConnection, Truncated, header_map
from agentserver.conformance.observation import Answer
from agentserver.conformance.stimulus import describe_body, header_rows
from agentserver.wire import WEBSOCKET_ROUTE

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_MEMBER = 65_536


def encode_frame(
    opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, reserved: int = 0
) -> bytes:
    """One client frame. *reserved* are the three reserved bits, 0 to 7. Pure but for the mask."""
    length, flag = len(payload), 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if length < 126:
        head += bytes([flag | length])
    elif length < 65_536:
        head += bytes([flag | 126]) + struct.pack("!H", length)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    repeated = (mask * (length // 4 + 1))[:length]
    scrambled = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")
    return head + mask + scrambled


class WebSocketClient:
    """A connection to a WebSocket endpoint.

    Args:
        host: The server's host name or address.
        port: The server's port.
        step: ``path``, ``headers``, ``handshake`` (headers that replace the client's own, ``null`` leaves one
            out), ``answer_pings`` (true).

    Raises:
        OSError: If nobody listens.
        Truncated: If the handshake is not answered.
    """

    def __init__(self, host: str, port: int, step: Mapping[str, Any]) -> None:
        self._connection = HttpConnection(host, port, step.get("timeout_s", TIMEOUT_S))
        self._answer_pings = bool(step.get("answer_pings", True))
        own: dict[str, Any] = {
            "Host": self._connection.host,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Version": "13",
            **step.get("handshake", {}),
        }
        rows = [(name, value) for name, value in own.items() if value is not None] + header_rows(step)
        lines = [
            f"GET {step.get('path', WEBSOCKET_ROUTE)} HTTP/1.1",
            *(f"{name}: {value}" for name, value in rows),
        ]
        try:
            self._connection.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            self.answer: Answer = self._handshake()
        except BaseException:
            self._connection.close()
            raise
        self.frames: list[dict[str, Any]] = self.answer["frames"]

    def _handshake(self) -> Answer:
        status, headers = self._connection.read_head()
        answer: Answer = {"status": status, "headers": header_map(headers), "frames": []}
        if status != 101:
            length = int(dict(headers).get("content-length", "0"))
            with contextlib.suppress(Truncated, OSError):
                answer |= describe_body(self._connection.read(length)) if length else {}
        return answer

    @property
    def open(self) -> bool:
        """Whether the handshake succeeded."""
        return bool(self.answer["status"] == 101)

    def send(self, opcode: int, payload: bytes, **options: Any) -> None:
        """Send one frame; *options* as for :func:`encode_frame`."""
        self._connection.socket.sendall(encode_frame(opcode, payload, **options))

    def send_fragments(self, opcode: int, payload: bytes, size: int) -> None:
        """Send one message in fragments of *size* bytes, stopping as soon as the server says something."""
        pieces = [payload[start : start + size] for start in range(0, len(payload), size)]
        for index, piece in enumerate(pieces):
            if select.select([self._connection.socket], [], [], 0)[0]:
                return
            self.send(opcode if index == 0 else 0, piece, fin=index == len(pieces) - 1)

    def receive(self) -> dict[str, Any]:
        """The next message or control frame; fragments are joined.

        Raises:
            Truncated: If the connection ends.
            TimeoutError: If nothing comes in time.
        """
        message, kind = b"", 0
        while True:
            first, payload = self._frame()
            opcode = first & 0x0F
            if opcode >= CLOSE:
                return self._control(opcode, payload)
            kind = kind or opcode
            message += payload
            if first & 0x80:
                return _message(kind, message)

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._connection.read(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._connection.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._connection.read(8))
        return first, self._connection.read(length)

    def _control(self, opcode: int, payload: bytes) -> dict[str, Any]:
        if opcode == CLOSE:
            code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else None
            return {"close": code, "reason": payload[2:].decode(errors="replace")}
        if opcode == PING:
            if self._answer_pings:
                self.send(PONG, payload)
            return {"ping": len(payload)}
        return {"pong": payload.decode(errors="replace")}

    def read_one(self, within: float | None) -> bool:
        """Add the next frame to the answer, ``silence`` after *within* seconds; whether more may come."""
        self._connection.socket.settimeout(TIMEOUT_S if within is None else within)
        try:
            frame = self.receive()
        except TimeoutError:
            self.frames.append({"silence": True})
            return False
        except (Truncated, OSError):
            self.frames.append({"eof": True})
            return False
        self.frames.append(frame)
        return "close" not in frame

    def abort(self) -> None:
        """Vanish: the server gets a reset, no close frame."""
        linger = struct.pack("ii", 1, 0)
        self._connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._connection.close()

    def finish(self) -> None:
        """Answer the server's close frame, where it sent one, and end the connection."""
        if self.frames and "close" in self.frames[-1]:
            with contextlib.suppress(OSError):
                self.send(CLOSE, struct.pack("!H", self.frames[-1]["close"] or 1000))
        self._connection.close()


def _message(kind: int, message: bytes) -> dict[str, Any]:
    if kind == TEXT:
        short = {"text": message.decode(errors="replace")}
        return short if len(message) <= _MEMBER else {"text_length": len(message)}
    if len(message) <= _MEMBER:
        return {"binary": base64.b64encode(message).decode()}
    return {"binary_length": len(message)}


# --- a conversation, from data


def converse(host: str, port: int, step: Mapping[str, Any], answer: Answer) -> None:
    """Run the ``steps`` of a WebSocket *step*; *answer* gets every frame as it comes."""
    try:
        client = WebSocketClient(host, port, step)
    except Truncated:
        answer.update(error="closed without a response", frames=[])
        return
    except OSError as error:
        answer.update(error=type(error).__name__, frames=[])
        return
    answer.update(client.answer)
    try:
        if client.open:
            for action in step.get("steps", []):
                _ACTIONS[next(iter(action))](client, action)
    except OSError as error:
        client.frames.append({"send_error": type(error).__name__})
    client.finish()


def _send_repeat(client: WebSocketClient, action: Mapping[str, Any]) -> None:
    text, times = action["send_repeat"]
    payload = str(text).encode() * int(times)
    opcode = BINARY if action.get("binary") else TEXT
    client.send_fragments(opcode, payload, int(action.get("fragment", len(payload))))


def _send_frame(client: WebSocketClient, action: Mapping[str, Any]) -> None:
    frame = dict(action["send_frame"])
    payload = str(frame.pop("text", "")).encode() or base64.b64decode(frame.pop("base64", ""))
    client.send(int(frame.pop("opcode")), payload, **frame)


def _receive(client: WebSocketClient, action: Mapping[str, Any]) -> None:
    for _ in range(int(action["recv"])):
        if not client.read_one(action.get("within_s")):
            return


def _receive_to_close(client: WebSocketClient, action: Mapping[str, Any]) -> None:
    """Read until the close, at most the given seconds altogether: pings never end by themselves."""
    deadline = time.monotonic() + float(action["recv_to_close"])
    while client.read_one(max(0.01, deadline - time.monotonic())):
        pass


def _receive_until(client: WebSocketClient, action: Mapping[str, Any]) -> None:
    """Read text messages until one contains every one of the given texts."""
    wanted: list[str] = action["recv_until"]
    deadline = time.monotonic() + float(action.get("within_s", TIMEOUT_S))
    while client.read_one(max(0.01, deadline - time.monotonic())):
        if all(text in client.frames[-1].get("text", "") for text in wanted):
            return


def _close(client: WebSocketClient, action: Mapping[str, Any]) -> None:
    code = int(action["close"])
    client.send(CLOSE, struct.pack("!H", code) + str(action.get("reason", "")).encode() if code else b"")


_ACTIONS: dict[str, Callable[[WebSocketClient, Mapping[str, Any]], None]] = {
    "send": lambda client, action: client.send(TEXT, str(action["send"]).encode()),
    "send_base64": lambda client, action: client.send(BINARY, base64.b64decode(action["send_base64"])),
    "send_repeat": _send_repeat,
    "send_frame": _send_frame,
    "recv": _receive,
    "recv_to_close": _receive_to_close,
    "recv_until": _receive_until,
    "close": _close,
    "abort": lambda client, _: client.abort(),
    "sleep_ms": lambda _, action: time.sleep(action["sleep_ms"] / 1000),
}
