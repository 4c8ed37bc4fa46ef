"""The way back: from an outcome to bytes.

A request is answered in one of two ways. The fast one is for a status, headers and a body that is at hand,
as most responses are: aiohttp sends any response through half a dozen coroutines and a writer object, and
here the same bytes are made at a third of the cost. Everything else goes the ordinary way: streams, files,
cookies, compression, HEAD, HTTP/1.0, and whatever has an application of the user's before it, whose signals
want to see each response. A handler may have gone that way itself before it returns, in part or to the end.

Both ways write the contract's headers with `stamp`, at the last moment before the head becomes bytes:
nothing that a handler or a middleware sets comes after it.

What fails on the way is an outcome in its turn, and what can become of it depends on one question: has a
byte left? Until then nothing of the failed response may stay behind (it may have switched the writer to
chunks, or announced a length), so the request gets a new writer, and the envelope goes the fast way, past all
that has just failed. After that, what the client has is not whole and must not look so: the connection is cut
before the last chunk, or reset where no chunks and no length tell the end.
"""

from __future__ import annotations

import logging
import socket
import struct
from typing import Final, Protocol

from aiohttp import hdrs, web
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11, RawRequestMessage
from aiohttp.typedefs import Handler

from agentserver._http.aiohttp_internals import (
    ParserConnection,
    PlainParts,
    http_date,
    serialize_headers,
    take_plain,
)
from agentserver._http.exchange import Exchange
from agentserver._http.lifetime import Lifetime
from agentserver._http.outcome import FAILURE, Outcome
from agentserver._http.writer import HostWriter
from agentserver.wire import (
    ERROR_DETAIL_HEADER,
    ERROR_SOURCE_HEADER,
    REQUEST_ID_HEADER,
    SERVER_HEADER,
    ErrorSource,
)

logger = logging.getLogger("agentserver")

_BYTES: Final = "application/octet-stream"
_EVENTS: Final = "text/event-stream"
# Up to here, one copy of the body costs less than a second system call.
_JOINED_LIMIT: Final = 16_384
_RESET_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Sender(Protocol):
    """In whose name a response is sent.

    Attributes:
        server: The value of ``x-platform-server``.
        fallback: The user's application, if there is one: then no response goes the fast way.
        lifetime: The life of the process: while it ends, every answer is the connection's last.
        keep_alive: Whether a connection may serve more than one request.
    """

    server: str
    fallback: Handler | None
    lifetime: Lifetime
    keep_alive: bool

    def failed(self, request: web.Request, exchange: Exchange, error: BaseException) -> Outcome:
        """What becomes of *request* when *error* was raised on the way back."""
        ...


async def send(  # noqa: PLR0917 - called once, for every request: names cost there
    connection: ParserConnection,
    request: web.Request,
    exchange: Exchange,
    outcome: Outcome,
    message: RawRequestMessage,
    host: Sender,
) -> tuple[Outcome, bool]:
    """Send *outcome*, or what becomes of it.

    Args:
        connection: Where to.
        request: The request that is answered.
        exchange: What is known of it.
        outcome: What is to be sent; some of it may have been.
        message: The request as it was read.
        host: In whose name.

    Returns:
        What became of the request in the end, and whether the connection may serve another.

    Raises:
        ConnectionError: If the client has gone.
    """
    if outcome.is_cut:
        return outcome, False
    response = outcome.response
    keep_alive = host.keep_alive and not message.should_close and not host.lifetime.shutting_down.is_set()
    try:
        if message.upgrade:
            await connection.decline_upgrade(request)
        if host.fallback is None and message.version == HttpVersion11 and message.method != hdrs.METH_HEAD:
            parts = take_plain(response)
            if parts is not None:
                keep_alive = keep_alive and parts[-1]
                head = _head_of(exchange, response, parts, host.server, keep_alive)
                _write(connection, head, parts[3])
                if connection.writing_paused:
                    await connection.drained()
                return outcome, keep_alive
        return outcome, await _send_ordinarily(request, response) and keep_alive
    except ConnectionError:
        raise
    # A handler's own headers, payload or signals may raise anything.
    except Exception as error:  # noqa: BLE001
        outcome = host.failed(request, exchange, error)
    if outcome.is_cut:
        return outcome, False
    return outcome, await _send_envelope(connection, exchange, outcome, message, host) and keep_alive


async def _send_envelope(
    connection: ParserConnection,
    exchange: Exchange,
    outcome: Outcome,
    message: RawRequestMessage,
    host: Sender,
) -> bool:
    """Send what tells of a failure the fast way, to whatever request; nothing of aiohttp's is asked again."""
    parts = take_plain(outcome.response)
    assert parts is not None, "an envelope is a plain response"
    is_current = message.version == HttpVersion11
    keep_alive = host.keep_alive and is_current and parts[-1] and not message.should_close
    head = _head_of(exchange, outcome.response, parts, host.server, keep_alive)
    if not is_current:
        head = head.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    _write(connection, head, b"" if message.method == hdrs.METH_HEAD else parts[3])
    if connection.writing_paused:
        await connection.drained()
    return keep_alive


async def _send_ordinarily(request: web.Request, response: web.StreamResponse) -> bool:
    """Have aiohttp send what is not plain, or the rest of it; whether the connection may serve another."""
    await finish(request, response)
    writer = request.writer
    # A file goes out past the writer.
    if isinstance(writer, HostWriter) and writer.length and not isinstance(response, web.FileResponse):
        logger.error("a response was %d bytes shorter than its Content-Length", writer.length)
        return False  # Only the end of the connection tells the client (RFC 9112, section 8).
    return bool(response.keep_alive)


async def finish(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send *response*, or what is left of it, the ordinary way."""
    if not response.prepared:  # a file would be sent twice
        await response.prepare(request)
    await response.write_eof()


def _write(connection: ParserConnection, head: bytes, body: bytes | bytearray) -> None:
    transport = connection.transport
    if transport is None:
        raise ConnectionResetError("the client has gone")
    if len(body) <= _JOINED_LIMIT:
        transport.write(head + body)
    else:
        # A head alone is a packet of its own; asyncio's writelines() never paused a sender before 3.13.2.
        transport.write(head + body[:_JOINED_LIMIT])
        transport.write(memoryview(body)[_JOINED_LIMIT:])


def has_left(request: web.BaseRequest) -> bool:
    """Whether a byte of the answer to *request* may have left, on the ordinary way."""
    return request.writer.output_size > 0


def cut(request: web.BaseRequest) -> None:
    """End the connection of *request* so that the client can tell that its answer is not whole."""
    writer, transport = request.writer, request.transport
    if transport is None:
        return
    if isinstance(writer, HostWriter):
        writer.flush()
    # Closing before the last chunk tells an HTTP/1.1 client (RFC 9112, section 8), and so does a length.
    # A body that lasts until the connection ends would look whole, unless that is reset.
    if request.version < HttpVersion11 and getattr(writer, "length", None) is None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    transport.close()


def stamp(exchange: Exchange, response: web.StreamResponse, server: str) -> None:
    """Write the framework's headers on *response*, over whatever a handler set (contract, section 3)."""
    exchange.sent = response
    headers = response.headers
    headers[REQUEST_ID_HEADER] = exchange.request_id
    headers[SERVER_HEADER] = server
    for name, value in exchange.headers.items():
        headers[name] = value
    if headers.get(hdrs.CONTENT_TYPE, "").startswith(_EVENTS):
        # Nothing between here and the client may keep or gather events; the second is nginx's word for it.
        headers.setdefault(hdrs.CACHE_CONTROL, "no-cache")
        headers.setdefault("X-Accel-Buffering", "no")
    if response.status >= 400:
        _stamp_source(response)


def _stamp_source(response: web.StreamResponse) -> None:
    failure = response.get(FAILURE)
    if failure is not None:
        response.headers[ERROR_SOURCE_HEADER] = failure.source.value
        if failure.detail is not None:
            response.headers[ERROR_DETAIL_HEADER] = failure.detail
    elif response.status >= 500 and ERROR_SOURCE_HEADER not in response.headers:
        response.headers[ERROR_SOURCE_HEADER] = ErrorSource.UPSTREAM.value


def _head_of(
    exchange: Exchange, response: web.StreamResponse, parts: PlainParts, server: str, keep_alive: bool
) -> bytes:
    """The status line and headers of a plain *response* (RFC 9112, sections 4 to 6).

    Raises:
        ValueError: If there is a line break or a NUL in a header.
    """
    status, reason, headers, body, _ = parts
    size = len(body)
    content_type = headers.get(hdrs.CONTENT_TYPE, _BYTES)
    is_usual = len(headers) == (hdrs.CONTENT_TYPE in headers) and status < 400
    if is_usual and size and keep_alive and (content_type + reason).isprintable():
        # A success whose only header so far is its type: no table of headers, just the text.
        exchange.sent = response
        ids = "".join([f"{name}: {value}\r\n" for name, value in exchange.headers.items()])
        return (
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n"
            f"{REQUEST_ID_HEADER}: {exchange.request_id}\r\n{SERVER_HEADER}: {server}\r\n{ids}"
            f"Content-Length: {size}\r\nDate: {http_date()}\r\nServer: {SERVER_SOFTWARE}\r\n\r\n"
        ).encode()
    stamp(exchange, response, server)
    if size:
        headers.setdefault(hdrs.CONTENT_TYPE, _BYTES)
    headers[hdrs.CONTENT_LENGTH] = str(size)
    if hdrs.DATE not in headers:
        headers[hdrs.DATE] = http_date()
    headers.setdefault(hdrs.SERVER, SERVER_SOFTWARE)
    if not keep_alive:
        headers.setdefault(hdrs.CONNECTION, "close")
    return serialize_headers(f"HTTP/1.1 {status} {reason}", headers)
