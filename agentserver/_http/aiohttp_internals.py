"""The border to aiohttp: every name of its inside that the HTTP side of the framework uses.

aiohttp's public interface has no place for what the contract asks of a connection, so some of its inside is
used, and it changes without notice. It stands here and nowhere else in this package, each piece with why it
is needed and what breaks when it changes; ``docs/decisions/aiohttp.md`` lists them for whoever raises the
bound.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from aiohttp import hdrs, http_writer, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.helpers import reify, rfc822_formatted_time
from aiohttp.http import HttpVersion11, RawRequestMessage, StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.tcp_helpers import tcp_keepalive
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo
from aiohttp.web_urldispatcher import SystemRoute
from multidict import CIMultiDict

from agentserver.errors import PayloadTooLargeError

if TYPE_CHECKING:
    from aiohttp.http_writer import Buffer

# What the parser gives instead of a request that it could not read. Were it renamed: an ImportError.
Unreadable: TypeAlias = _ErrInfo

# What stands in for such a request; its answer is HTTP/1.1 whatever it was meant to be.
UNREAD: Final = ERROR._replace(version=HttpVersion11)  # a public name, of a named tuple

# The value of ``Date``, made once a second. Not documented; were it moved: an ImportError.
http_date: Final = rfc822_formatted_time

# The status line and headers as bytes, in C; it refuses line breaks. Were it renamed: an AttributeError.
serialize_headers: Final = cast(
    "Callable[[str, CIMultiDict[str]], bytes]",
    http_writer._serialize_headers,  # pyright: ignore[reportUnknownMemberType]  # compiled, without types
)

# From Python 3.12 a task may run at once, without a turn of the loop. A name spares the making of one.
_TASK: Final[dict[str, Any]] = {"name": "request"}
if sys.version_info >= (3, 12):
    _TASK["eager_start"] = True

_WITHOUT_BODY: Final = frozenset({204, 205, 304})


class ParserConnection(RequestHandler):
    """aiohttp's connection without its task: the parser, its queue of requests, and the flow control of both.

    aiohttp keeps a task for every connection, in which it starts another for each request. Here nothing
    waits: whoever derives from this is called when data came, and takes requests from `queue`.

    Used of RequestHandler: ``_messages``, ``_parser.message_consumed``, ``_buffer_paused``,
    ``_msg_queue_resume_size``, ``_resume_reading_if_drained`` (the queue's flow control: were it changed,
    long pipelines would stall in silence; tests/http/test_clean_context.py sends 200 requests at once);
    ``_reading_paused``, ``_paused``, ``_drain_helper`` (the flow control of bodies and answers);
    ``_upgraded``, ``_payload_parser`` (whether the connection speaks another protocol now);
    ``_force_close``, ``_task_handler``, ``_manager`` (whether it is closed, and whom its end cancels). Its
    ``connection_made`` and ``start`` are not called: what a release adds to them is missing here in
    silence.

    Attributes:
        queue: The requests that were read and not begun.
        request: The one that is being served.
        idle_since: When it began to wait for a request, in the loop's time; ``None`` while it serves one.
        head_since: Since when it waits for the rest of a request's headers.
        is_held: Whether a client that leaves cancels nothing.
        clean: What everything that is done for no request, or for another than the current, runs in a copy
            of.
        wire: The transport, also once the connection is closing.
    """

    __slots__ = ("clean", "head_since", "idle_since", "is_held", "loop", "queue", "request", "wire")

    wire: asyncio.Transport
    queue: deque[tuple[RawRequestMessage | Unreadable, StreamReader]]

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        clean: Context,
        *,
        max_line_size: int,
        max_field_size: int,
        max_headers: int,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is off
            auto_decompress=False,  # see unpacking
            max_line_size=max_line_size,
            max_field_size=max_field_size,
            max_headers=max_headers,
        )
        self.loop = loop
        self.clean = clean
        self.queue = self._messages
        self.request: web.BaseRequest | None = None
        self.idle_since: float | None = loop.time()
        self.head_since: float | None = None
        self.is_held = False

    @property
    def is_reading_paused(self) -> bool:
        """Whether nothing is read because the handler has not taken what is here."""
        return self._reading_paused or self._buffer_paused

    @property
    def is_upgraded(self) -> bool:
        """Whether a request for an upgrade was read: what came behind it waits unparsed."""
        return bool(self._upgraded)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    @property
    def is_handed_over(self) -> bool:
        """Whether another protocol has taken the connection over."""
        return self._payload_parser is not None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that serves the current request; it is cancelled when the client leaves."""
        return self._task_handler

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        BaseProtocol.connection_made(self, transport)  # aiohttp's own would start its task
        self.wire = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        tcp_keepalive(self.wire)
        assert self._manager is not None
        self._manager.connection_made(self, self.wire)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone: whoever reads its body is told, whoever serves it cancelled."""
        request, self.request = self.request, None
        if self.is_held:
            self._task_handler = None
        super().connection_lost(exc)
        if request is not None:
            gone = ConnectionResetError("the client has gone")
            gone.__cause__ = exc
            request._cancel(gone)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading. aiohttp's streams ask for it at every read, paused or not."""
        if self._reading_paused:
            # asyncio's own loop keeps the context it is asked in for all that is received from then on.
            self.clean.copy().run(super().resume_reading, resume_parser)

    def begin(self) -> None:
        """Begin to serve the next request, if none is being served, in a task and a context of its own."""
        if self.idle_since is None or not self._messages or self._force_close:
            return
        self.idle_since = self.head_since = None  # before more is read, which may begin a request too
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self.clean.copy().run(self._resume_reading_if_drained)
        serving = self.serve(message, payload)
        task: Any
        if sys.version_info >= (3, 11):
            task = asyncio.Task(serving, loop=self.loop, context=self.clean.copy(), **_TASK)
        else:  # it copies the context it is made in
            task = self.clean.copy().run(functools.partial(asyncio.Task, serving, loop=self.loop, **_TASK))
        self._task_handler = task

    @abstractmethod
    async def serve(self, message: RawRequestMessage | Unreadable, payload: StreamReader) -> None:
        """Serve one request; nothing waits for this."""

    def put_unreadable(self, status: int, error: BaseException, message: str) -> None:
        """Have *error* answered as if it were what came next."""
        self._messages.append((Unreadable(status, error, message), EMPTY_PAYLOAD))

    async def decline_upgrade(self, request: web.BaseRequest) -> None:
        """Parse what came behind a request for an upgrade that is answered like any other."""
        if not self._upgraded or self._payload_parser is not None:  # pyright: ignore[reportUnknownMemberType]
            return
        # aiohttp does it within finish_response(), before it sends what it was given.
        await self.finish_response(request, cast("web.StreamResponse", _Nothing()), None)

    async def drained(self) -> None:
        """Wait until the client has taken enough."""
        await self._drain_helper()

    def end(self) -> None:
        """Close once all is sent; what still comes is not read."""
        self._force_close = True


class _Nothing:
    """A response of which nothing is sent."""

    async def prepare(self, _request: web.BaseRequest) -> None:
        return

    async def write_eof(self) -> None:
        return


class ServedRequest(web.Request):
    """aiohttp's request with its body read in one piece, and with or without an application behind it.

    Used of Request: ``_read_bytes``, ``_payload``, ``_client_max_size`` (its body), ``_match_info`` (whether
    there is an application): were one renamed, an AttributeError; ``_prepare_hook``, which is called before
    the head of any response: were it renamed, the contract's headers would be missing from streams.
    """

    async def read(self) -> bytes:
        """The whole body; at once if it has arrived with the headers, as most do.

        Raises:
            PayloadTooLargeError: If it is larger than the server takes.
        """
        if self._read_bytes is None:
            payload = self._payload
            if payload.is_eof() and payload.total_bytes <= self._client_max_size:
                self._read_bytes = payload.read_nowait()
            else:
                # aiohttp gathers a body in a growing bytearray and copies that: a join copies it once.
                payload.set_read_chunk_size(self._client_max_size)
                self._read_bytes = b"".join([chunk async for chunk in self._chunks(payload)])
        return self._read_bytes

    async def _chunks(self, payload: StreamReader) -> AsyncIterator[bytes]:
        size = 0
        while chunk := await payload.readany():
            size += len(chunk)
            if size > self._client_max_size:
                raise PayloadTooLargeError(self._client_max_size)
            yield chunk

    @property
    def app(self) -> web.Application:
        """The application behind the host, if it was given one."""
        if self._match_info is None:
            raise RuntimeError("this host has no application: build it with builder.app to have one")
        return super().app

    @reify
    def match_info(self) -> web.UrlMappingMatchInfo:
        """What a route of aiohttp's would have made of the path, if there is no application to do it."""
        found = self._match_info
        if found is None:
            found = web.UrlMappingMatchInfo(self._path_parameters(), SystemRoute(web.HTTPNotFound()))
        return found

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await super()._prepare_hook(response)
        await self._before_head(response)

    @abstractmethod
    def _path_parameters(self) -> dict[str, str]:
        """The parameters of the path, by name."""

    @abstractmethod
    async def _before_head(self, response: web.StreamResponse) -> None:
        """The head of *response* is about to be made."""


class ChunkWriter(StreamWriter):
    """aiohttp's writer, for one that has a way of its own past it.

    Used of StreamWriter: ``_write``, ``_writelines`` (all bytes go through them: a third way would overtake
    what waits in `flush`), ``_headers_buf``, ``_compress`` (whether a chunk is its bytes and nothing else:
    were there another reason, wrong bytes would go out in silence).
    """

    @property
    def passes_chunks(self) -> bool:
        """Whether a chunk now is its size, itself and a line end (RFC 9112, section 7.1)."""
        return self.chunked and not self._headers_buf and self._compress is None

    def flush(self) -> None:
        """Give the transport what waits; called before anything else is written."""

    def _write(self, chunk: Buffer) -> None:
        self.flush()
        super()._write(chunk)

    def _writelines(self, chunks: Iterable[Buffer]) -> None:
        self.flush()
        super()._writelines(chunks)


def interject(writer: AbstractStreamWriter, data: bytes) -> None:
    """Write *data* between two chunks, now and without waiting.

    StreamWriter's ``_write_chunked_payload`` and ``_write``, because ``write`` is a coroutine, and between
    its making and its running others may write. Were they renamed: an AttributeError at the first comment.
    """
    assert isinstance(writer, StreamWriter)
    writer.send_headers()
    if writer.chunked:
        writer._write_chunked_payload(data)
    else:
        writer._write(data)


def watch(
    writer: AbstractStreamWriter, on_chunk: Callable[[Buffer], Awaitable[None]], on_end: Callable[[], None]
) -> None:
    """Have *on_chunk* called with each chunk that a writer of aiohttp's is given, *on_end* before its end.

    ``StreamWriter._on_chunk_sent`` can be given to its constructor alone, which is aiohttp's to call in
    somebody's own application. Were it renamed: no keep-alive comments there, or too many, in silence.
    """
    write_eof = writer.write_eof

    async def last(chunk: bytes = b"") -> None:
        on_end()
        await write_eof(chunk)

    setattr(writer, "_on_chunk_sent", on_chunk)  # noqa: B010 - it has no type to be assigned to
    setattr(writer, "write_eof", last)  # noqa: B010 - a method of this one writer


# Of a response whose body is at hand: status, reason, headers as far as they are set, body, and whether it
# allows another request. A bare tuple, because every request makes one.
PlainParts: TypeAlias = tuple[int, str, CIMultiDict[str], bytes | bytearray, bool]


def take_plain(response: web.StreamResponse) -> PlainParts | None:
    """Take *response* out of aiohttp's hands if it is a status, headers and bytes, and nothing else.

    Reads every flag that tells aiohttp to do more. Were there a new one, wrong bytes would go out in
    silence: a release that touches ``Response.__init__`` or ``_prepare_headers`` has to be read for it.
    What was taken counts as sent (``_eof_sent``), so that nobody sends it again.
    """
    if (
        type(response) is not web.Response
        or response._eof_sent
        or response._payload_writer is not None
        or response._compression
        or response._chunked
        or response._cookies
        or response._status in _WITHOUT_BODY
        or response._status < 200
        or hdrs.CONTENT_LENGTH in response._headers
    ):
        return None
    body = response._body
    if body is None:
        body = b""
    elif not isinstance(body, (bytes, bytearray)):
        return None
    response._eof_sent = True
    return response._status, response._reason, response._headers, body, response._keep_alive is not False


def is_buffered(response: web.StreamResponse) -> bool:
    """Whether all of *response* is at hand and none of it was sent.

    ``Response._body`` through its property: only bytes are at hand, a payload may come from anywhere.
    """
    return (
        isinstance(response, web.Response)
        and not response.prepared
        and (response.body is None or isinstance(response.body, (bytes, bytearray)))
    )


def is_complete(response: web.StreamResponse) -> bool:
    """Whether the last byte of *response* was written; ``_eof_sent`` has no public name."""
    return response._eof_sent


def has_no_body(response: web.StreamResponse) -> bool:
    """Whether *response*, being prepared, must be empty, as to HEAD; aiohttp's ``_must_be_empty_body``."""
    return bool(response._must_be_empty_body)


def message_of(request: web.BaseRequest) -> RawRequestMessage:
    """What the parser read; of it ``path`` is the raw target, which ``request`` has only as a parsed URL."""
    return request._message


def release(request: web.BaseRequest) -> None:
    """Let go of what *request* holds: uploaded files, and its task, which would be a cycle of references.

    ``_post``, ``_finish`` and ``_task``, which aiohttp itself treats so at the end of a request.
    """
    if request._post is not None:
        request._finish()
    request._task = None  # type: ignore[assignment]


def renew_writer(request: web.BaseRequest) -> None:
    """Give *request* a new writer, of which a response that failed in the making has left nothing.

    ``_payload_writer`` is read by every response that is prepared. Were it renamed, the new one would be
    ignored: tests/http/test_failed_responses.py looks for the marks of the old.
    """
    writer = request._payload_writer
    assert isinstance(writer, StreamWriter)
    request._payload_writer = type(writer)(writer.protocol, writer.loop)


def forget_error(payload: StreamReader) -> None:
    """Let the rest of a refused body be read; ``StreamReader._exception`` can be set, but not unset."""
    payload._exception = None


def was_lost(request: web.BaseRequest) -> bool:
    """Whether the connection of *request* was closed: Python 3.10 has to ask its ``_force_close``."""
    return request.protocol._force_close


@contextmanager
def call_off_cancellation(request: web.BaseRequest) -> Generator[None]:
    """Within the block a client that leaves cancels nothing.

    ``RequestHandler._task_handler`` is whom a lost connection cancels, in our own connections and in those of
    somebody's application. Were it renamed: what ends services would be cancelled as it was before.
    """
    protocol = request.protocol
    if isinstance(protocol, ParserConnection):  # a task that began at once is only known to it afterwards
        protocol.is_held = True
        try:
            yield
        finally:
            protocol.is_held = False
        return
    task, protocol._task_handler = protocol._task_handler, None
    try:
        yield
    finally:
        if protocol.connected:
            protocol._task_handler = task


def limit_body(request: web.BaseRequest, size: int) -> None:
    """Have *request* take a body of *size* bytes, whatever its application says.

    ``_client_max_size`` can be read and not set. Were it renamed: the application's limit would count.
    """
    request._client_max_size = size


def body_read(request: web.BaseRequest) -> bytes | None:
    """The body of *request*, if it was read: asking for it in public would read it. ``_read_bytes``."""
    return request._read_bytes


def parses_body(reader: object, request: web.BaseRequest) -> bool:
    """Whether *reader*, of aiohttp's multipart, reads the body of *request*.

    ``_content`` of its classes. Were it renamed: a malformed form would be a 500 in place of a 400.
    """
    return getattr(reader, "_content", None) is request.content


def handler_of(app: web.Application) -> Handler:
    """What answers a request with *app*, middlewares and all; its public ways want a server around it."""
    return app._handle


def connection_count(server: web.Server) -> int:
    """How many connections are open; ``Server.connections`` would copy them to count them."""
    return len(server._connections)
