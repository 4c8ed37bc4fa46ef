"""Random ids. Entropy is drawn in blocks: a system call for each id would cost more than the id."""

from __future__ import annotations

import os
from typing import Final

_BLOCK: Final = 4096  # bytes
_SIZE: Final = 16  # bytes of one id
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

# Taken from its end, which no two threads can do at once.
_ready: Final[list[str]] = []
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    # A forked process must not hand out its parent's ids again.
    os.register_at_fork(after_in_child=_ready.clear)


def new_hex() -> str:
    """32 random hexadecimal digits: 128 bits."""
    try:
        return _ready.pop()
    except IndexError:
        first, *others = os.urandom(_BLOCK).hex(" ", _SIZE).split()
        _ready.extend(others)
        return first


def new_uuid() -> str:
    """A new random UUID (RFC 9562, version 4)."""
    digits = new_hex()
    variant = _VARIANTS[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
