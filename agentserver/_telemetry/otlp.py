"""Spans in OTLP's protobuf encoding, written directly.

The framework makes one span for every request. Building it from protobuf's own message objects costs as much
as serving a small request; this costs a tenth. Field numbers are those of opentelemetry/proto/trace/v1 and
common/v1, which are stable.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from agentserver._telemetry.attributes import SCOPE
from agentserver._version import __version__

_TIMES: Final = struct.Struct("<BQBQ").pack
_TIME: Final = struct.Struct("<BQ").pack
_FLAGS: Final = struct.Struct("<HI").pack
_DOUBLE: Final = struct.Struct("<Bd").pack
OF_SPAN: Final = b"\x4a"  # the field of a span that holds its attributes
IDENTITY_SIZE: Final = 28
IDENTITY_SIZE_OF_CHILD: Final = 38
TIMES_SIZE: Final = 18
_SPAN: Final = b"\x12"
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
def before_text(tag: bytes, key: str, size: int) -> bytes:
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
    """Each of *values* as a field *tag*: a ``KeyValue``."""
    parts: list[bytes] = []
    for key, value in values.items():
        if type(value) is str:
            text = value.encode("utf-8", "replace")
            parts += (before_text(tag, key, len(text)), text)
        elif type(value) is int:
            parts.append(_number(tag, key, value))
        else:
            parts.append(_attribute(tag, key, value))
    return b"".join(parts)


def head(name: str, kind: int) -> bytes:
    """The fields of name and kind."""
    return field(b"\x2a", name.encode("utf-8", "replace")) + b"\x30" + length(kind)


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


def identity(trace_id: str, span_id: str, parent_id: str) -> bytes:
    """The fields that say which span it is; ids are hexadecimal digits, and a root has no parent's."""
    return bytes.fromhex(
        f"0a10{trace_id}1208{span_id}2208{parent_id}" if parent_id else f"0a10{trace_id}1208{span_id}"
    )


def trace_state(header: str) -> bytes:
    """The trace state as a field of its span, if there is one."""
    return field(b"\x1a", header.encode("utf-8", "replace")) if header else b""


def times(start: int, end: int) -> bytes:
    """The fields of beginning and end, in nanoseconds since 1970."""
    return _TIMES(0x39, start, 0x41, end)


def flags(*, remote_parent: bool) -> bytes:
    """The field that says whether the parent is of another process."""
    return _FLAGS(0x0185, 0x300 if remote_parent else 0x100)


def span(fields: bytes) -> bytes:
    """A span as a field of a ``ScopeSpans``."""
    return field(_SPAN, fields)


class Gap(NamedTuple):
    """Where a form lacks something.

    Args:
        size: The bytes that it lacks.
    """

    size: int


def form(parts: Sequence[bytes | Gap]) -> bytes:
    """A span of *parts* as a field of a ``ScopeSpans``, to be filled by ``%`` with a tuple of `bytes`."""
    size = sum(part.size if isinstance(part, Gap) else len(part) for part in parts)
    written = [
        b"%b" if isinstance(part, Gap) else part.replace(b"%", b"%%")
        for part in (_SPAN + length(size), *parts)
    ]
    return b"".join(written)


def request(resource: Mapping[str, Any], spans: Iterable[bytes]) -> bytes:
    """An ``ExportTraceServiceRequest`` of the framework's spans, each of *spans* one or several of them."""
    version = field(b"\x12", __version__.encode())
    of_scope = field(b"\x0a", field(b"\x0a", SCOPE.encode()) + version)
    of_resource = field(b"\x0a", attributes(b"\x0a", resource))
    return field(b"\x0a", of_resource + field(b"\x12", of_scope + b"".join(spans)))
