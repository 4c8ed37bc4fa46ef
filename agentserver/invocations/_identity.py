"""Which ids a request has (contract, section 2). Pure functions of plain values."""

from __future__ import annotations

from os import urandom

from agentserver.wire import is_valid_id


def new_id() -> str:
    """A new random UUID (RFC 9562, version 4)."""
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def first_valid(*candidates: str | None) -> str:
    """The first candidate that may serve as an id, else a new one; an invalid one counts as absent."""
    for candidate in candidates:
        if candidate and is_valid_id(candidate):
            return candidate
    return new_id()
