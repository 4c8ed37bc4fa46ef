"""What is read of every response: ids, media type and charset, how long to wait, and the error it may be."""

from __future__ import annotations

import codecs
import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp

from agentserver.client.errors import RefusedError, ResponseError
from agentserver.wire import (
    ERROR_DETAIL_HEADER,
    ERROR_SOURCE_HEADER,
    INVOCATION_ID_HEADER,
    REQUEST_ID_HEADER,
    SESSION_ID_HEADER,
)

__all__ = ["charset_of", "error_from", "ids_of", "media_type_of", "retry_after_of"]

_CHARSET = re.compile(r"""; *charset *= *["']?([^\s"';]{1,40})""", re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})
"""Codecs by which Python makes text of bytes too, but that are no charset, and refuse or warn about bytes."""

_ERROR_BODY_LIMIT = 65_536


def media_type_of(headers: Mapping[str, str]) -> str:
    """The media type, without its parameters, in lower case."""
    return headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()


def charset_of(headers: Mapping[str, str]) -> str:
    """The charset that the server named, if Python knows it, else UTF-8."""
    match = _CHARSET.search(headers.get("Content-Type", ""))
    try:
        name = codecs.lookup(match[1] if match else "utf-8").name.replace("-", "_")
        if name not in _NO_CHARSETS:
            b"-".decode(name, errors="replace")  # a codec between bytes, such as base64, is refused here
            return name
    except (LookupError, ValueError):
        pass
    return "utf-8"


def ids_of(headers: Mapping[str, str], invocation_id: str, session_id: str | None) -> tuple[str, str | None]:
    """The ids of an answer: the server's word before the caller's."""
    return headers.get(INVOCATION_ID_HEADER, invocation_id), headers.get(SESSION_ID_HEADER, session_id)


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``, seconds or a date (RFC 9110, section 10.2.3), as seconds of 0 or more."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, IndexError):  # OverflowError, IndexError: no date either
        return None


async def error_from(
    response: aiohttp.ClientResponse, invocation_id: str | None, session_id: str | None
) -> ResponseError:
    """Read the error that *response* is, whoever wrote it: the framework, the handler, or a proxy."""
    body = await _beginning(response.content)
    code, message = _envelope(body) or (f"http_{response.status}", _plain_words(response))
    kind = RefusedError if response.status in {401, 403} else ResponseError
    return kind(
        response.status,
        code,
        message,
        source=response.headers.get(ERROR_SOURCE_HEADER),
        detail=response.headers.get(ERROR_DETAIL_HEADER),
        invocation_id=response.headers.get(INVOCATION_ID_HEADER, invocation_id or "") or None,
        session_id=response.headers.get(SESSION_ID_HEADER, session_id or "") or None,
        request_id=response.headers.get(REQUEST_ID_HEADER),
        retry_after=retry_after_of(response.headers),
        headers=response.headers,
    )


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    body = b""
    while len(body) < _ERROR_BODY_LIMIT and (more := await content.read(_ERROR_BODY_LIMIT - len(body))):
        body += more
    return body


def _envelope(body: bytes) -> tuple[str, str] | None:
    try:
        error = json.loads(body)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _plain_words(response: aiohttp.ClientResponse) -> str:
    if target := response.headers.get("Location"):
        return f"the server redirects to {target}: use that address"
    return response.reason or "no further words"
