"""W3C Trace Context and Baggage as plain values: what a client sends is checked here, before it is used.

What is malformed counts as absent; nothing of it is logged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from multidict import MultiMapping

from agentserver.wire import (
    BAGGAGE_HEADER,
    INVOCATION_ID_BAGGAGE,
    REQUEST_ID_BAGGAGE,
    REQUEST_ID_HEADER,
    REQUEST_ID_MAX_LENGTH,
    SESSION_ID_BAGGAGE,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
    is_valid_id,
)

MAX_BAGGAGE_LENGTH: Final = 8192
MAX_BAGGAGE_ENTRIES: Final = 64
MAX_TRACESTATE_LENGTH: Final = 512
MAX_TRACESTATE_ENTRIES: Final = 32
# Entries that are ours to set: what a client sends under these names is not passed on.
RESERVED: Final = frozenset({INVOCATION_ID_BAGGAGE, SESSION_ID_BAGGAGE, REQUEST_ID_BAGGAGE})

_TRACEPARENT: Final = (
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_TRACESTATE_KEY = r"(?:[a-z][_0-9a-z\-*/]{0,255}|[a-z0-9][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13})"
_TRACESTATE_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_TRACESTATE_ENTRY = rf"({_TRACESTATE_KEY})=({_TRACESTATE_VALUE})"
_BAGGAGE_KEY = r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)"
_BAGGAGE_VALUE = r"([\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*)"
_BAGGAGE_ENTRY = rf"[ \t]*{_BAGGAGE_KEY}[ \t]*=[ \t]*{_BAGGAGE_VALUE}[ \t]*(?:;.*)?"


class TraceParent(NamedTuple):
    """The span that caused a request.

    Args:
        trace_id: 32 hex digits, not all zero.
        span_id: 16 hex digits, not all zero.
        flags: The trace flags, 0 to 255; bit 0 is "sampled".
        state: The trace state, as ``tracestate`` has it.
        is_remote: Whether it is of another process.
    """

    trace_id: str
    span_id: str
    flags: int
    state: str = ""
    is_remote: bool = True


def trace_parent(headers: Mapping[str, str]) -> TraceParent | None:
    """The caller's span, if there is exactly one valid ``traceparent`` (Trace Context, section 3.2)."""
    values = all_values(headers, TRACEPARENT_HEADER)
    if len(values) != 1:
        return None
    match = _compiled(_TRACEPARENT).fullmatch(values[0])
    if match is None or (match[1] == "00" and match[5]):
        return None
    return TraceParent(match[2], match[3], int(match[4], 16))


def trace_state(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The entries of ``tracestate``; none if one is malformed or there are too many (section 3.3)."""
    text = ",".join(all_values(headers, TRACESTATE_HEADER))
    if not text or len(text) > MAX_TRACESTATE_LENGTH:
        return []
    members = [member for member in (part.strip(" \t") for part in text.split(",")) if member]
    matches = [_compiled(_TRACESTATE_ENTRY).fullmatch(member) for member in members]
    entries = [(match[1], match[2]) for match in matches if match is not None]
    if len(entries) < len(members) or len(entries) > MAX_TRACESTATE_ENTRIES:
        return []
    return entries if len(dict(entries)) == len(entries) else []


def state_header(entries: list[tuple[str, str]]) -> str:
    """*entries* as a ``tracestate``."""
    return ",".join([f"{key}={value}" for key, value in entries])


def baggage(headers: Mapping[str, str]) -> dict[str, str]:
    """The caller's baggage: valid entries up to the limits, without properties and without reserved names.

    A value with control characters in it, percent-encoded ones too, is left out.
    """
    text = ",".join(all_values(headers, BAGGAGE_HEADER))
    if not text:
        return {}
    if len(text) > MAX_BAGGAGE_LENGTH:
        text = text[: MAX_BAGGAGE_LENGTH + 1].rpartition(",")[0]
    entries: dict[str, str] = {}
    for member in text.split(",", MAX_BAGGAGE_ENTRIES)[:MAX_BAGGAGE_ENTRIES]:
        match = _compiled(_BAGGAGE_ENTRY).fullmatch(member)
        if match is None or match[1] in RESERVED:
            continue
        value = _decoded(match[2])
        if value is not None:
            entries[match[1]] = value
    return entries


def _decoded(value: str) -> str | None:
    try:
        text = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def handler_baggage(headers: Mapping[str, str], ids: Mapping[str, str]) -> dict[str, str]:
    """The caller's baggage, and over it the entries that the framework sets for a handler (section 7).

    Args:
        headers: The request's, of which a valid ``x-request-id`` goes on.
        ids: The request's ids, by the names of their log fields; it may have none.
    """
    entries = baggage(headers) if BAGGAGE_HEADER in headers else {}
    if ids:
        entries[INVOCATION_ID_BAGGAGE] = ids["invocation_id"]
        entries[SESSION_ID_BAGGAGE] = ids["session_id"]
    request_id = headers.get(REQUEST_ID_HEADER)
    if request_id is not None and is_valid_id(request_id[:REQUEST_ID_MAX_LENGTH]):
        entries[REQUEST_ID_BAGGAGE] = request_id[:REQUEST_ID_MAX_LENGTH]
    return entries


def outgoing(headers: Mapping[str, str], ids: Mapping[str, str]) -> dict[str, str]:
    """The headers that carry the trace of a request on to another service, without a span of our own."""
    sent: dict[str, str] = {}
    if trace_parent(headers) is not None:
        sent[TRACEPARENT_HEADER] = headers[TRACEPARENT_HEADER]
        if state := trace_state(headers):
            sent[TRACESTATE_HEADER] = state_header(state)
    if entries := handler_baggage(headers, ids):
        sent[BAGGAGE_HEADER] = ",".join(f"{key}={quote(value)}" for key, value in entries.items())
    return sent


@cache
def _compiled(pattern: str) -> re.Pattern[str]:  # by the first that needs it, not at every start
    return re.compile(pattern)


def all_values(headers: Mapping[str, str], name: str) -> list[str]:
    """The values of all headers called *name*."""
    if isinstance(headers, MultiMapping):
        return headers.getall(name, [])
    return [headers[name]] if name in headers else []
