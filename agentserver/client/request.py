"""Requests as they are made: the body, the headers that handlers see, and the call. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from yarl import URL

from agentserver.wire import CLIENT_HEADER_PREFIX

__all__ = ["Body", "Call", "as_client_headers", "encode_body", "encode_json"]

Body: TypeAlias = Any
"""``str`` is sent as text, ``bytes`` as they are, None as no body, anything else as JSON."""


def encode_body(body: Body) -> tuple[bytes | None, str]:
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


def as_client_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """*headers* under the names a handler sees: with ``x-client-`` before those that lack it."""
    return {
        name if name.lower().startswith(CLIENT_HEADER_PREFIX) else CLIENT_HEADER_PREFIX + name: value
        for name, value in (headers or {}).items()
    }


@dataclass(frozen=True)
class Call:
    """One request, before it goes out.

    Args:
        method: ``GET`` or ``POST``.
        url: The address, query included.
        invocation_id: The invocation it is about, if any.
        session_id: The session, if it is known.
        headers: Headers beyond those of every request.
        body: The bytes of the body, None for none.
        timeout: Seconds for all of it; None is the client's ``timeouts.answer``.
        upgrade: Whether it opens a WebSocket.
        is_idempotent: Whether the server takes a repetition for what it is.
    """

    method: str
    url: URL
    invocation_id: str | None = None
    session_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    timeout: float | None = None
    upgrade: bool = False
    is_idempotent: bool = False

    @property
    def ids(self) -> dict[str, str | None]:
        """The ids for an error about this call."""
        return {"invocation_id": self.invocation_id, "session_id": self.session_id}
