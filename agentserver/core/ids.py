"""Random ids. Entropy is drawn in blocks: a system call for each id would cost more than the id."""

from __future__ import annotations

import os

_BLOCK = 4096


class _Entropy:
    """A block of random bytes that is handed out once."""

    def __init__(self) -> None:
        self._digits = ""
        self._next = 0

    def hex(self) -> str:
        """32 random hexadecimal digits: 128 bits."""
        begin = self._next
        if begin >= len(self._digits):
            self._digits = os.urandom(_BLOCK).hex()
            begin = 0
        self._next = begin + 32
        return self._digits[begin : begin + 32]

    def forget(self) -> None:
        """Drop what is left: a forked process must not hand out its parent's bytes again."""
        self._digits = ""
        self._next = 0


_entropy = _Entropy()
new_hex = _entropy.hex
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_entropy.forget)


def new_uuid() -> str:
    """A new random UUID (RFC 9562, version 4)."""
    digits = new_hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
