"""The bytes that a step sends: heads and bodies, from data. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

_PIECE = 65_536


def header_rows(step: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers of *step*, given as an object or as a list of pairs where names repeat."""
    headers: Any = step.get("headers", [])
    rows: Any = headers.items() if hasattr(headers, "items") else headers
    return [(str(name), str(value)) for name, value in rows]


def whole_body(step: Mapping[str, Any]) -> bytes | None:
    """The body of *step* in one piece, ``None`` where it has none."""
    if "json" in step:
        return json.dumps(step["json"]).encode()
    if "text" in step:
        return str(step["text"]).encode()
    if "base64" in step:
        return base64.b64decode(step["base64"])
    if "repeat" in step:
        text, times = step["repeat"]
        return str(text).encode() * int(times)
    return None


def http_head(step: Mapping[str, Any], host: str) -> bytes:
    """The request line and the headers of an HTTP *step*."""
    rows = header_rows(step)
    names = {name.lower() for name, _ in rows}
    body = whole_body(step)
    if "host" not in names:
        rows.insert(0, ("Host", host))
    if "chunked_repeat" in step:
        rows.append(("Transfer-Encoding", "chunked"))
    elif not names & {"content-length", "transfer-encoding"} and (
        body is not None or step["method"] == "POST"
    ):
        rows.append(("Content-Length", str(len(body or b""))))
    if "json" in step and "content-type" not in names:
        rows.append(("Content-Type", "application/json"))
    lines = [f"{step['method']} {step['path']} {step.get('version', 'HTTP/1.1')}"]
    lines += [f"{name}: {value}" for name, value in rows]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def body_pieces(step: Mapping[str, Any]) -> Iterator[bytes]:
    """What follows the head, in pieces of at most 64 KiB; ``chunked_repeat`` in chunks of that size."""
    if "chunked_repeat" in step:
        text, times = step["chunked_repeat"]
        block = str(text).encode() * (_PIECE // len(str(text).encode()))
        for _ in range(int(times) // len(block) + 1):
            yield f"{len(block):x}\r\n".encode() + block + b"\r\n"
        yield b"0\r\n\r\n"
        return
    body = whole_body(step) or b""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def describe_body(payload: bytes) -> dict[str, Any]:
    """A body as an answer keeps it: text, or base64, or length and digest where it is long."""
    if len(payload) > _PIECE:
        return {"body_length": len(payload), "body_sha256": hashlib.sha256(payload).hexdigest()}
    try:
        return {"body": payload.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(payload).decode()}
