"""A plain response as one block of bytes.

aiohttp sends any response through half a dozen coroutines and a writer object; most responses are a status,
a few headers and a body that is at hand, and for those the same bytes are made here at a third of the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from aiohttp import hdrs, http_writer, web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
from multidict import CIMultiDict

from agentserver._http.exchange import Exchange
from agentserver.wire import REQUEST_ID_HEADER, SERVER_HEADER

# What aiohttp's own writer calls, in C; it refuses line breaks.
_serialize: Final = cast(
    "Callable[[str, CIMultiDict[str]], bytes]",
    http_writer._serialize_headers,  # pyright: ignore[reportUnknownMemberType]  # compiled, without types
)
_BYTES: Final = "application/octet-stream"
_WITHOUT_BODY: Final = frozenset({204, 205, 304})


def plain_body(request: web.BaseRequest, response: web.StreamResponse) -> bytes | bytearray | None:
    """The body of *response* if it may be sent with `head_of`, else ``None``: aiohttp has to send it."""
    if (
        type(response) is not web.Response
        or response._eof_sent
        or response._payload_writer is not None
        or response._compression
        or response._chunked
        or response._cookies
        or response._status in _WITHOUT_BODY
        or response._status < 200
        or request._method == hdrs.METH_HEAD
        or request._version != HttpVersion11
        or hdrs.CONTENT_LENGTH in response._headers
    ):
        return None
    body = response._body
    if body is None:
        return b""
    return body if isinstance(body, (bytes, bytearray)) else None


def head_of(
    exchange: Exchange, response: web.StreamResponse, server: str, size: int, *, keep_alive: bool
) -> bytes:
    """The status line and headers of *response*, whose body has *size* bytes (RFC 9112, sections 4 to 6).

    Raises:
        ValueError: If there is a line break or a NUL in a header.
    """
    headers = response._headers
    content_type = headers.get(hdrs.CONTENT_TYPE, _BYTES)
    is_usual = len(headers) == (hdrs.CONTENT_TYPE in headers) and response._status < 400
    if is_usual and size and keep_alive and (content_type + response._reason).isprintable():
        return _usual_head(exchange, response, server, content_type, size)
    exchange.stamp(response, server)
    if size:
        headers.setdefault(hdrs.CONTENT_TYPE, _BYTES)
    headers[hdrs.CONTENT_LENGTH] = str(size)
    if hdrs.DATE not in headers:
        headers[hdrs.DATE] = rfc822_formatted_time()
    headers.setdefault(hdrs.SERVER, SERVER_SOFTWARE)
    if not keep_alive:
        headers.setdefault(hdrs.CONNECTION, "close")
    return _serialize(f"HTTP/1.1 {response._status} {response._reason}", headers)


def _usual_head(
    exchange: Exchange, response: web.StreamResponse, server: str, content_type: str, size: int
) -> bytes:
    """The head of a success whose only header so far is its type: no table of headers, just the text."""
    exchange.response = response
    own = "".join([f"{name}: {value}\r\n" for name, value in exchange.headers.items()])
    return (
        f"HTTP/1.1 {response._status} {response._reason}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"{REQUEST_ID_HEADER}: {exchange.request_id}\r\n"
        f"{SERVER_HEADER}: {server}\r\n"
        f"{own}"
        f"Content-Length: {size}\r\n"
        f"Date: {rfc822_formatted_time()}\r\n"
        f"Server: {SERVER_SOFTWARE}\r\n\r\n"
    ).encode()
