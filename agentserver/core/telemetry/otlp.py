"""Spans in OTLP's protobuf encoding, written directly.

The framework makes one span for every request. Building it from protobuf's own message objects costs as much
as serving a small request; this costs a tenth. Field numbers are those of opentelemetry/proto/trace/v1 and
common/v1, which are stable.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

_TIMES: Final = struct.Struct("<BQBQ").pack
_TIME: Final = struct.Struct("<BQ").pack
_FLAGS: Final = struct.Struct("<HI").pack
_DOUBLE: Final = struct.Struct("<Bd").pack
_MASK: Final = (1 << 64) - 1  # a negative number is written as its two's complement in 64 bits


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


_LENGTHS: Final = [_varint(number) for number in range(1024)]


def length(number: int) -> bytes:
    """A length as a varint."""
    return _LENGTHS[number] if number < 1024 else _varint(number)


def field(tag: bytes, payload: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return tag + length(len(payload)) + payload


@lru_cache(maxsize=4096)
def _before_text(tag: bytes, key: str, size: int) -> bytes:
    """All that stands before the *size* bytes of a text: it depends on nothing else."""
    before = field(b"\x0a", key.encode(errors="replace")) + b"\x12"
    any_value = b"\x0a" + length(size)
    before += length(len(any_value) + size) + any_value
    return tag + length(len(before) + size) + before


@lru_cache(maxsize=4096)
def _number(tag: bytes, key: str, value: int) -> bytes:
    return _attribute(tag, key, value)


def _attribute(tag: bytes, key: str, value: object) -> bytes:
    named = field(b"\x0a", key.encode(errors="replace"))
    return field(tag, named + field(b"\x12", _any_value(value)))


def attribute(tag: bytes, key: str, value: object) -> bytes:
    """A ``KeyValue`` as the field *tag*."""
    if type(value) is str:
        text = value.encode(errors="replace")
        return _before_text(tag, key, len(text)) + text
    if type(value) is int:
        return _number(tag, key, value)
    return _attribute(tag, key, value)


def _any_value(value: object) -> bytes:
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & _MASK)
    if isinstance(value, float):
        return _DOUBLE(0x21, value)
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return field(b"\x2a", b"".join(field(b"\x0a", _any_value(item)) for item in items))
    return field(b"\x0a", str(value).encode(errors="replace"))


def attributes(tag: bytes, values: Mapping[str, Any]) -> bytes:
    """Each of *values* as a field *tag*."""
    return b"".join([attribute(tag, key, value) for key, value in values.items()])


def head(name: str, kind: int, fixed: Mapping[str, Any]) -> bytes:
    """What is the same for all spans of an operation: name, kind and attributes."""
    return field(b"\x2a", name.encode(errors="replace")) + b"\x30" + length(kind) + attributes(b"\x4a", fixed)


def event(name: str, nanoseconds: int, values: Mapping[str, Any]) -> bytes:
    """An event as a field of its span."""
    payload = (
        _TIME(0x09, nanoseconds) + field(b"\x12", name.encode(errors="replace")) + attributes(b"\x1a", values)
    )
    return field(b"\x5a", payload)


def status(code: int, message: str) -> bytes:
    """The status as a field of its span."""
    payload = (field(b"\x12", message.encode(errors="replace")) if message else b"") + b"\x18" + length(code)
    return field(b"\x7a", payload)


def identity(trace_id: int, span_id: int, parent_id: int, trace_state: str) -> bytes:
    """The fields that say which span it is."""
    written = b"\x0a\x10" + trace_id.to_bytes(16, "big") + b"\x12\x08" + span_id.to_bytes(8, "big")
    if trace_state:
        written += field(b"\x1a", trace_state.encode(errors="replace"))
    return written + b"\x22\x08" + parent_id.to_bytes(8, "big") if parent_id else written


def times(start: int, end: int) -> bytes:
    """The fields of beginning and end, in nanoseconds since 1970."""
    return _TIMES(0x39, start, 0x41, end)


def flags(*, remote_parent: bool) -> bytes:
    """The field that says whether the parent is of another process."""
    return _FLAGS(0x0185, 0x300 if remote_parent else 0x100)


def request(resource: Mapping[str, Any], scope: tuple[str, str], spans: Iterable[bytes]) -> bytes:
    """An ``ExportTraceServiceRequest`` of encoded spans that share resource and scope."""
    name, version = scope
    of_scope = field(b"\x0a", field(b"\x0a", name.encode()) + field(b"\x12", version.encode()))
    parts = [of_scope]
    for span in spans:
        parts += (b"\x12", length(len(span)), span)
    spans_of_scope = b"".join(parts)
    of_resource = field(b"\x0a", attributes(b"\x0a", resource))
    return field(b"\x0a", of_resource + field(b"\x12", spans_of_scope))
