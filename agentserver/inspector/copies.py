"""An exchange's request as a program of somebody else: curl, Python, lines of JSON. Pure."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from agentserver.inspector.calls import Call
from agentserver.inspector.exchanges import Exchange

__all__ = ["as_call", "as_curl", "as_json_lines", "as_python"]

# What a client says of itself.
_OWN: Final = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding"})
_ARGUMENT: Final = 64 * 1024  # bytes; systems limit what a command may be given
_PYTHON: Final = """\
import http.client

connection = http.client.HTTPConnection({authority!r})
connection.request(
    {method!r},
    {path!r},
    body={body!r},
    headers={headers!r},
)
response = connection.getresponse()
print(response.status)
print(response.read().decode(errors="replace"))
"""


def as_curl(exchange: Exchange, authority: str) -> str:
    """A command for a POSIX shell that sends the request of *exchange* to *authority*."""
    method, path, _ = exchange.request.start
    body = bytes(exchange.sent.kept)
    words = ["curl", "--include", "--no-buffer", "--globoff"]
    if method == "HEAD":
        words.append("--head")
    elif method != ("POST" if body else "GET"):
        words += ["--request", method]
    headers = _headers(exchange)
    named = {name.lower() for name, _ in headers}
    for name, value in headers:
        words += ["--header", f"{name}: {value}" if value else f"{name};"]
    if body and "content-type" not in named:
        words += ["--header", "Content-Type:"]
    before = ""
    if body:
        text = _text(body)
        if text is None or len(body) > _ARGUMENT:
            before = _printf(body)
            words += ["--data-binary", "@-"]
        else:
            words += ["--data-raw", text]
    words.append(f"http://{authority}{path}")
    return before + shlex.join(words)


def as_python(exchange: Exchange, authority: str) -> str:
    """A program, of the standard library alone, that sends the request of *exchange* to *authority*."""
    method, path, _ = exchange.request.start
    headers: dict[str, str] = {}
    for name, value in _headers(exchange):  # one line each, as RFC 9110 lets a recipient do
        value = value.encode().decode("latin-1")  # noqa: PLW2901 - http.client sends a character a byte
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    body = bytes(exchange.sent.kept) or None
    return _PYTHON.format(authority=authority, method=method, path=path, body=body, headers=headers)


def as_json_lines(exchange: Exchange, start: float) -> str:
    """The exchange and each of its parts, one JSON object a line."""
    detail = exchange.detail(start, 0, len(exchange.parts))
    parts: list[dict[str, Any]] = detail.pop("list")
    head = {"type": "exchange", **detail}
    lines = [head, *({"type": "part", "exchange": exchange.id, **part} for part in parts)]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _headers(exchange: Exchange) -> list[tuple[str, str]]:
    return [(name, value) for name, value in exchange.request.headers if name.lower() not in _OWN]


def _text(body: bytes) -> str | None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _printf(body: bytes) -> str:
    octets = "".join(f"\\{byte:03o}" for byte in body)
    return f"printf '{octets}' | "


def as_call(exchange: Exchange) -> Call:
    """The request of *exchange*, to be sent again: the same method, path, headers and body."""
    method, path, _ = exchange.request.start
    framing = {"connection", "host", "content-length", "transfer-encoding"}
    headers = [(name, value) for name, value in exchange.request.headers if name.lower() not in framing]
    return Call(method, path, headers, bytes(exchange.sent.kept))
