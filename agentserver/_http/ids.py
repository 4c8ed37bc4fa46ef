"""Random ids, made in blocks: a system call and a format for each would cost several times as much."""

from __future__ import annotations

import os
from typing import Final

_SIZE: Final = 16  # bytes of one id
_HEX_BLOCK: Final = 256  # ids
_UUID_BLOCK: Final = 64  # ids
# The bits of a UUID that say what it is (RFC 9562, section 5.4): version 4 in byte 6, the variant in byte 8.
_VERSION: Final = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT: Final = bytes(byte & 0x3F | 0x80 for byte in range(256))

# Taken from their ends, which no two threads can do at once.
_hexes: Final[list[str]] = []
_uuids: Final[list[str]] = []
if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    # A forked process must not hand out its parent's ids again.
    os.register_at_fork(after_in_child=_hexes.clear)
    os.register_at_fork(after_in_child=_uuids.clear)


def new_trace_id() -> str:
    """32 random hexadecimal digits: 128 bits."""
    try:
        return _hexes.pop()
    except IndexError:
        first, *others = os.urandom(_HEX_BLOCK * _SIZE).hex(" ", _SIZE).split()
        _hexes.extend(others)
        return first


def new_uuid() -> str:
    """A new random UUID (RFC 9562, version 4)."""
    try:
        return _uuids.pop()
    except IndexError:
        block = bytearray(os.urandom(_UUID_BLOCK * _SIZE))
        block[6::_SIZE] = block[6::_SIZE].translate(_VERSION)
        block[8::_SIZE] = block[8::_SIZE].translate(_VARIANT)
        pairs = iter(block.hex(" ", 2).split())  # of bytes; eight make an id
        ids = [f"{a}{b}-{c}-{d}-{e}-{f}{g}{h}" for a, b, c, d, e, f, g, h in zip(*[pairs] * 8, strict=True)]
        _uuids.extend(ids[1:])
        return ids[0]
