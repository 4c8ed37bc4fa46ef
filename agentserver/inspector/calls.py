"""What the page asks to be sent: checked and turned into values. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

__all__ = ["Call", "Faults", "Message", "MistakeError", "fields_of", "read_call", "read_message"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH: Final = re.compile(r"/[\x21-\x22\x24-\x7e]*")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_KINDS: Final = frozenset({"text", "binary", "ping", "pong", "close", "vanish"})
_CONTROL_SIZE: Final = 125
_REASON_SIZE: Final = 123


class MistakeError(Exception):
    """What was asked for cannot be done; the message is for whoever asked."""


@dataclass(frozen=True)
class Faults:
    """What the client does wrong on purpose.

    Args:
        rate: Bytes that it reads a second; 0 for no limit.
        drop_after: Bytes of the answer after which it leaves; 0 for never.
    """

    rate: int = 0
    drop_after: int = 0


@dataclass(frozen=True)
class Call:
    """A request, as it is to go over the wire.

    Args:
        method: Its method.
        path: Its path with its query.
        headers: In their order; ``Host``, ``Content-Length`` and ``Connection`` are added if they lack.
        body: Its body.
        faults: What to do wrong.
    """

    method: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""
    faults: Faults = field(default_factory=Faults)

    def encode(self, authority: str) -> bytes:
        """The bytes to send to *authority*, a host with its port."""
        named = {name.lower() for name, _ in self.headers}
        headers = list(self.headers)
        if "host" not in named:
            headers.insert(0, ("Host", authority))
        has_body = bool(self.body) or self.method not in {"GET", "HEAD"}
        if has_body and not named & {"content-length", "transfer-encoding"}:
            headers.append(("Content-Length", str(len(self.body))))
        if "connection" not in named:
            headers.append(("Connection", "close"))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Message:
    """What to send on a WebSocket: a frame of some kind, or to vanish.

    Args:
        kind: ``text``, ``binary``, ``ping``, ``pong``, ``close`` or ``vanish``.
        data: The payload; of a close the reason.
        code: Of a close.
    """

    kind: str
    data: bytes = b""
    code: int = 1000


def read_call(asked: Mapping[str, Any]) -> Call:
    """Make a call of what the page asked for.

    Raises:
        MistakeError: If it cannot be sent as a request.
    """
    method, path = _text(asked, "method", "POST"), _text(asked, "path", "/invocations")
    if not _TOKEN.fullmatch(method):
        raise MistakeError(f"The method is {method[:80]!r}, which is none")
    if not _PATH.fullmatch(path):
        raise MistakeError(
            "The path must begin with '/' and have neither spaces, '#' nor characters beyond ASCII"
        )
    faults = fields_of(asked.get("faults", {}), "faults")
    return Call(
        method,
        path,
        _headers(asked.get("headers", [])),
        _bytes(asked, "body"),
        Faults(_number(faults, "rate"), _number(faults, "drop_after")),
    )


def read_message(asked: Mapping[str, Any]) -> Message:
    """Make a message of what the page asked for.

    Raises:
        MistakeError: If it cannot be sent in a frame of its kind.
    """
    kind, data = _text(asked, "kind", "text"), _bytes(asked, "data")
    if kind not in _KINDS:
        raise MistakeError(f"The kind is {kind[:80]!r}, but must be one of {', '.join(sorted(_KINDS))}")
    if kind in {"ping", "pong"} and len(data) > _CONTROL_SIZE:
        raise MistakeError(f"A {kind} has {_CONTROL_SIZE} bytes at most")
    code = _number(asked, "code") or 1000
    if kind == "close" and not (1000 <= code <= 4999):
        raise MistakeError("The close code must be from 1000 to 4999")
    if kind == "close" and len(data) > _REASON_SIZE:
        raise MistakeError(f"The reason of a close has {_REASON_SIZE} bytes at most")
    return Message(kind, data, code)


def fields_of(value: object, name: str) -> Mapping[str, Any]:
    """Return *value*, which must be a JSON object.

    Raises:
        MistakeError: If it is none.
    """
    if not isinstance(value, dict):
        raise MistakeError(f"{name} must be a JSON object")
    return cast("dict[str, Any]", value)


def _headers(value: Any) -> list[tuple[str, str]]:
    try:
        headers = [(str(name), str(text)) for name, text in value]
    except (TypeError, ValueError):
        raise MistakeError("headers must be a list of pairs") from None
    for name, text in headers:
        if not _TOKEN.fullmatch(name):
            raise MistakeError(f"{name[:80]!r} is no header's name")
        if not _VALUE.fullmatch(text):
            raise MistakeError(
                f"The value of the header {name} has a line break or another control character"
            )
    return headers


def _text(asked: Mapping[str, Any], name: str, default: str) -> str:
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise MistakeError(f"{name} must be text")
    return value


def _number(asked: Mapping[str, Any], name: str) -> int:
    value = asked.get(name, 0)
    if not isinstance(value, int) or value < 0:
        raise MistakeError(f"{name} must be a whole number, 0 or more")
    return value


def _bytes(asked: Mapping[str, Any], name: str) -> bytes:
    encoded = asked.get(f"{name}64")
    if encoded is None:
        try:
            return _text(asked, name, "").encode()
        except UnicodeEncodeError:
            raise MistakeError(f"{name} has half of a character that UTF-8 cannot carry") from None
    try:
        return base64.b64decode(str(encoded), validate=True)
    except binascii.Error:
        raise MistakeError(f"{name}64 is no Base64") from None
