"""What may be sent as the body of an invocation. Pure."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

__all__ = ["Body", "encode", "encode_json"]

Body: TypeAlias = Any
"""``str`` is sent as text, ``bytes`` as they are, None as no body, anything else as JSON."""


def encode(body: Body) -> tuple[bytes | None, str]:
    """Return the bytes of *body* and their media type, empty for no body.

    Raises:
        ValueError: If it is no JSON either, or has characters that UTF-8 has not.
    """
    if body is None:
        return None, ""
    if isinstance(body, str):
        return _utf8(body), "text/plain; charset=utf-8"
    if isinstance(body, (bytes, bytearray)):
        return bytes(body), "application/octet-stream"
    return _utf8(encode_json(body, "body")), "application/json"


def encode_json(value: Any, what: str, separators: tuple[str, str] = (", ", ": ")) -> str:
    """Return *value* as JSON; *what* it is, for the message.

    Raises:
        ValueError: If it is no JSON.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the {what} cannot be sent as JSON: {error}") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the body cannot be sent as UTF-8: {error.reason} at {error.start}") from None
