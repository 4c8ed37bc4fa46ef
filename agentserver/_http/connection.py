"""One TCP connection: aiohttp's parser, requests and writer, one task for each request and none in between.

aiohttp keeps a task for every connection, which waits for a request, starts a second task for it and waits
for that. Here the parser's callback starts the request's task itself, and the task ends with the response.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from typing import Any, ClassVar, Final, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.tcp_helpers import tcp_keepalive
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo

from agentserver._http.deadlines import Action, ClientDeadlines, Progress, Waiting
from agentserver._http.exchange import Exchange
from agentserver._http.pipeline import CLIENT_CLOSED_REQUEST, Pipeline
from agentserver._http.request import HostRequest
from agentserver._http.sending import head_of, plain_body
from agentserver._http.writer import HostWriter
from agentserver.errors import Failure, InvocationError, PayloadTooLargeError, classify
from agentserver.options import AgentHostOptions
from agentserver.wire import ErrorCode, ErrorSource

logger = logging.getLogger("agentserver")

# Up to here, one copy of the body costs less than a second system call.
_JOINED_LIMIT: Final = 16_384
# What stands in for a request that could not be read; its answer is HTTP/1.1 whatever it was meant to be.
_UNREAD: Final = ERROR._replace(version=HttpVersion11)
_VERSIONS: Final = (HttpVersion11, HttpVersion10)
_MALFORMED: Final = Failure(
    400, ErrorCode.INVALID_REQUEST.value, "The request is not valid HTTP/1.1", ErrorSource.USER
)
# From Python 3.12 a task may run at once, without a turn of the loop. A name spares the making of one.
_TASK: Final[dict[str, Any]] = {"name": "request"}
if sys.version_info >= (3, 12):
    _TASK["eager_start"] = True


class HostConnection(RequestHandler):
    """One TCP connection.

    Attributes:
        idle_since: When it began to wait for a request, in the loop's time; ``None`` while it serves one.
        head_since: Since when it waits for the rest of a request's headers: from their first byte on, or from
            the end of the request before, if they came during that.
        receiving: The body that arrives, or the last that did.
        heard: Whether some of it came since the last look at the deadlines.
        waiting: What that look has left for the next.
        wire: The transport, also once the connection is closing.
    """

    __slots__ = (
        "_has_half_a_head",
        "_last",
        "_max_body_size",
        "_pipeline",
        "head_since",
        "heard",
        "idle_since",
        "receiving",
        "waiting",
        "wire",
    )

    patience: ClassVar[float] = math.inf
    """Seconds after which it need not be waited for, whatever the options say."""
    wire: asyncio.Transport

    def __init__(
        self,
        server: web.Server,
        pipeline: Pipeline,
        loop: asyncio.AbstractEventLoop,
        options: AgentHostOptions,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is off
            auto_decompress=False,  # see unpacking
            max_line_size=options.max_request_line,
            max_field_size=options.max_header_size,
            max_headers=options.max_header_count,
        )
        self._pipeline = pipeline
        self._max_body_size = pipeline.max_body_size
        self._last = False
        self._has_half_a_head = False  # what came last is the beginning of a request, and no more
        self.idle_since: float | None = loop.time()
        self.head_since: float | None = None
        self.receiving: StreamReader | None = None
        self.heard = False
        self.waiting = Waiting()

    @property
    def is_reading_paused(self) -> bool:
        """Whether nothing is read because the handler has not taken what is here."""
        return self._reading_paused or self._buffer_paused

    @property
    def is_writable(self) -> bool:
        """Whether a handler may write without waiting for the client; of a WebSocket that is not known."""
        if self._upgraded:  # pyright: ignore[reportUnknownMemberType]  # untyped
            return False
        return self.idle_since is None and self.transport is not None and not self._paused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        BaseProtocol.connection_made(self, transport)  # aiohttp's own would start its task
        stream = cast("asyncio.Transport", transport)  # uvloop's is one in all but its base class
        tcp_keepalive(stream)
        self.wire = stream
        assert self._manager is not None
        self._manager.connection_made(self, stream)

    def data_received(self, data: bytes) -> None:
        """Parse *data*, serve what is complete, and stop a body that grows over the limit unannounced."""
        super().data_received(data)
        if self._messages:
            self._has_half_a_head = False
            payload = self._messages[-1][1]
            self.receiving = None if payload.is_eof() else payload
            self._begin()
        elif data and (self.receiving is None or self.receiving.is_eof()):
            self._has_half_a_head = True
            if self.idle_since is not None and self.head_since is None:
                self.head_since = self._loop.time()
        receiving = self.receiving
        if receiving is not None:
            self.heard = True
            if receiving.total_bytes > self._max_body_size:
                self.receiving = None
                if receiving.exception() is None:
                    receiving.set_exception(PayloadTooLargeError(self._max_body_size))

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on reading. aiohttp's streams ask for it at every read, paused or not."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def close(self) -> None:
        """End after the request that is being served; its body may still arrive."""
        self._last = True
        if self.idle_since is not None:
            self.force_close()
        elif self._payload_parser is not None:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """End now; the handler has *timeout* seconds to clean up."""
        self._force_close = True
        task = self._task_handler
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=timeout)
        self.force_close()

    def keep_to(self, deadlines: ClientDeadlines, now: float) -> None:
        """End itself, or the request on it, if by *deadlines* its client's time is up at *now*."""
        body = self.receiving
        if body is not None and (body.is_eof() or body.exception() or self.is_reading_paused):
            body = None  # that is not read here is not the client's to hurry
        progress = Progress(
            self.idle_since,
            self.head_since,
            awaits_body=self.idle_since is None and body is not None,
            has_heard=self.heard,
            unsent=self.wire.get_write_buffer_size(),
            is_writable=self.is_writable,
            is_closing=self.transport is None,
            patience=self.patience,
            before=self.waiting,
        )
        self.heard = False
        action, self.waiting = deadlines.check(now, progress)
        if action is Action.CUT_OFF:
            logger.info("a client that does not read was cut off, %d bytes unsent", progress.unsent)
            self.abort()
        elif action is Action.CLOSE:
            self.force_close()
        elif action is Action.REFUSE_HEAD:
            self.refuse(_too_slow("The request's headers took too long"))
        elif action is Action.FAIL_BODY and body is not None:
            body.set_exception(_too_slow("The request's body took too long"))

    def refuse(self, error: InvocationError) -> None:
        """Answer what has not been read to its end with *error*, and close."""
        self._messages.append((_ErrInfo(error.status, error, error.message), EMPTY_PAYLOAD))
        self._begin()

    def abort(self) -> None:
        """End at once, whatever has not been sent."""
        self.force_close()
        self.wire.abort()

    def _begin(self) -> None:
        if self.idle_since is None or not self._messages or self._force_close:
            return
        self.idle_since = self.head_since = None
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        self._task_handler = asyncio.Task(self._serve(message, payload), loop=self._loop, **_TASK)

    async def _serve(self, message: RawRequestMessage | _ErrInfo, payload: StreamReader) -> None:
        task: asyncio.Task[None] | None = asyncio.current_task()
        assert task is not None
        lifetime = self._pipeline.lifetime
        lifetime.enter(task)
        keep_alive = False
        try:
            keep_alive = await self._exchange(message, payload, task)
            if not payload.is_eof():
                keep_alive = await self._discard(payload) and keep_alive
        except ConnectionError:
            pass  # The client has gone; the pipeline has said so in its log line.
        # Nothing waits for this task, so nothing but the log would ever tell of the error.
        except Exception:
            logger.exception("a response could not be sent")
        finally:
            lifetime.leave(task)
            self._current_request = None
            self._done(keep_alive=keep_alive)

    async def _exchange(
        self, message: RawRequestMessage | _ErrInfo, payload: StreamReader, task: asyncio.Task[None]
    ) -> bool:
        """Answer one request; say whether the connection may serve another."""
        pipeline, loop = self._pipeline, self._loop
        failure = None
        # aiohttp's parser in Python, unlike that in C, lets bytes above ASCII stand in a path.
        if isinstance(message, _ErrInfo) or message.version not in _VERSIONS or not message.path.isascii():
            failure = _failure_of(message)
            message = _UNREAD
        unpacked = None
        if message.compression and payload is not EMPTY_PAYLOAD:
            from agentserver._http.unpacking import UnpackedStream  # most bodies come as they are

            unpacked = UnpackedStream(payload, message.compression, self._max_body_size)
        request = HostRequest(
            message,
            payload if unpacked is None else unpacked.content,
            self,
            HostWriter(self, loop),
            task,
            loop,
            client_max_size=self._max_body_size,
        )
        request._pipeline = pipeline
        self._current_request = request
        exchange = pipeline.begin(request)
        status = CLIENT_CLOSED_REQUEST
        try:
            if failure is not None:
                response = pipeline.reject(exchange, failure)
            else:
                response = await pipeline.answer(request, exchange)
            status = response.status
            response, keep_alive = await self._respond(request, exchange, response)
            status = response.status
            return keep_alive
        finally:
            if unpacked is not None:
                unpacked.close()
            self._current_request = None
            request._task = None  # type: ignore[assignment]  # aiohttp does so too: it ends a reference cycle
            pipeline.end(request, exchange, status)

    async def _respond(
        self, request: HostRequest, exchange: Exchange, response: web.StreamResponse
    ) -> tuple[web.StreamResponse, bool]:
        try:
            body = None
            if self._pipeline.fallback is None and not self._upgraded:  # pyright: ignore[reportUnknownMemberType]  # untyped
                body = plain_body(request, response)
            if body is None:
                return await self._respond_slowly(request, response)
            keep_alive = response._keep_alive is not False and not request._message.should_close
            keep_alive = keep_alive and not self._pipeline.lifetime.shutting_down.is_set()
            head = head_of(exchange, response, self._pipeline.server, len(body), keep_alive=keep_alive)
        except ValueError as error:  # A header that cannot be sent: nothing has gone out yet.
            exchange.response = None
            return await self._respond(request, exchange, self._pipeline.failed(request, exchange, error))
        response._eof_sent = True
        await self._write(head, body)
        return response, keep_alive

    async def _respond_slowly(
        self, request: HostRequest, response: web.StreamResponse
    ) -> tuple[web.StreamResponse, bool]:
        """Have aiohttp send what is not plain, and what comes after a declined upgrade."""
        response, gone = await self.finish_response(request, response, None)
        # A file goes out past the writer.
        if request.writer.length and not isinstance(response, web.FileResponse):
            logger.error("a response was %d bytes shorter than its Content-Length", request.writer.length)
            gone = True  # Only the end of the connection tells the client (RFC 9112, section 8).
        return response, bool(response.keep_alive) and not gone

    async def _write(self, head: bytes, body: bytes | bytearray) -> None:
        transport = self.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        if len(body) <= _JOINED_LIMIT:
            transport.write(head + body)
        else:
            # A head alone is a packet of its own; asyncio's writelines() never paused a sender before 3.13.2.
            transport.write(head + body[:_JOINED_LIMIT])
            transport.write(memoryview(body)[_JOINED_LIMIT:])
        if self._paused:
            await self._drain_helper()

    async def _discard(self, payload: StreamReader) -> bool:
        """Read what a client still sends, so that it can read the answer (RFC 9112, section 9.6)."""

        async def read_away() -> None:
            while not payload.is_eof():
                await payload.readany()

        error = payload.exception()
        if self.transport is None or not isinstance(error, PayloadTooLargeError | None):
            return False
        payload._exception = None
        try:
            await asyncio.wait_for(read_away(), self._lingering_time)
        # The answer is out, and whatever is wrong with the rest of this body only ends its connection.
        except Exception:  # noqa: BLE001
            return False
        return True

    def _done(self, *, keep_alive: bool) -> None:
        self.idle_since = self._loop.time()
        if not keep_alive or self._last:
            self.force_close()
        elif self._messages:
            self._loop.call_soon(self._begin)
        elif self._has_half_a_head:
            self.head_since = self.idle_since


class SurplusConnection(HostConnection):
    """A connection beyond the limit: its first request is told so, and it has little time to make one."""

    __slots__ = ()

    patience = 2.0

    def _begin(self) -> None:
        self._messages.clear()
        full = InvocationError(
            ErrorCode.UNAVAILABLE,
            "The server has as many connections as it may have: try again later",
            status=503,
            headers={"Retry-After": "1"},
        )
        self._messages.append((_ErrInfo(full.status, full, full.message), EMPTY_PAYLOAD))
        super()._begin()


def _too_slow(message: str) -> InvocationError:
    return InvocationError("request_timeout", message, status=408)


def _failure_of(message: RawRequestMessage | _ErrInfo) -> Failure:
    if isinstance(message, _ErrInfo) and isinstance(message.exc, InvocationError):
        return classify(message.exc)
    return _MALFORMED
