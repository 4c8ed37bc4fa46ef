"""One TCP connection: aiohttp's parser, one task for each request and none in between.

How it goes. The transport gives bytes to `data_received`, which gives them to aiohttp's parser. What it has
read stands in a queue: a request's head, and a stream for its body, into which later bytes go. The first of
the queue is begun at once if none is being served, else when that one is done (`_done`); while the queue is
long, the parser and the transport are paused. There is no task between two requests, and no timer for one:
the server looks at every connection every few seconds (`progress`) and ends what is too slow.

A request is begun (`begin`) by a task of its own (`serve`), in a copy of the server's clean context,
whoever's turn of the loop it is: that of the bytes that came, of the request before it, or of the server's
sweep. The task has the request answered and the answer sent (`_exchange`), reads away what the client still
sends of a body that nobody read (`_discard`: a client that is still sending would not read its answer, RFC
9112, section 9.6), and ends in `_done`, which begins the next request or closes.

Who ends what. A client that leaves ends in `connection_lost`: whoever reads its body is told, the task is
cancelled unless an option says otherwise, or its services are being ended. A server that stops calls
`close` (the current request is the last), and after the time-out cancels the task itself, by `Lifetime`.
`refuse` puts an answer in the queue for what has not been read to its end. Nothing waits for the task, so
it lets no error out: what a handler raises has become an outcome before, and the rest is logged here.

An upgrade stops the parser. If it is accepted, the transport gets another protocol and this one only lives on
until the request's task ends; if it is declined, what came behind it is parsed when the answer is sent.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import ClassVar, Final

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from agentserver._http.aiohttp_internals import (
    UNREAD,
    ParserConnection,
    Unreadable,
    forget_error,
    release,
)
from agentserver._http.deadlines import Action, ClientDeadlines, Progress, Waiting
from agentserver._http.exchange import EXCHANGE
from agentserver._http.outcome import Outcome
from agentserver._http.pipeline import Pipeline
from agentserver._http.request import HostRequest
from agentserver._http.sending import send
from agentserver._http.writer import HostWriter
from agentserver.errors import Failure, InvocationError, PayloadTooLargeError, classify
from agentserver.options import AgentHostOptions
from agentserver.wire import ErrorCode, ErrorSource

logger = logging.getLogger("agentserver")

_LINGERING: Final = 10.0
"""Seconds for which the rest of a body is read away."""
_VERSIONS: Final = (HttpVersion11, HttpVersion10)
_MALFORMED: Final = Failure(
    400, ErrorCode.INVALID_REQUEST.value, "The request is not valid HTTP/1.1", ErrorSource.USER
)
_TOO_LONG: Final = Failure(
    400,
    ErrorCode.INVALID_REQUEST.value,
    "The path or a header field is longer than this server takes",
    ErrorSource.USER,
)


class HostConnection(ParserConnection):
    """One TCP connection.

    Attributes:
        idle_since: When it began to wait for a request, in the loop's time; ``None`` while it serves one.
        head_since: Since when it waits for the rest of a request's headers: from their first byte on, or from
            the end of the request before, if they came during that.
        receiving: The body that arrives, or the last that did.
        heard: Whether some of it came since the last look at the deadlines.
        waiting: What that look has left for the next.
    """

    __slots__ = (
        "_has_half_a_head",
        "_has_served",
        "_is_last",
        "_max_body_size",
        "_pipeline",
        "_request_class",
        "heard",
        "receiving",
        "waiting",
    )

    patience: ClassVar[float] = math.inf
    """Seconds after which it need not be waited for, whatever the options say."""

    def __init__(
        self,
        server: web.Server,
        pipeline: Pipeline,
        requests: type[HostRequest],
        loop: asyncio.AbstractEventLoop,
        options: AgentHostOptions,
    ) -> None:
        super().__init__(
            server,
            loop,
            pipeline.context,
            max_line_size=options.max_request_line,
            max_field_size=options.max_header_size,
            max_headers=options.max_header_count,
        )
        self._pipeline = pipeline
        self._request_class = requests
        self._max_body_size = pipeline.max_body_size
        self._is_last = False
        self._has_served = False
        self._has_half_a_head = False  # what came last is the beginning of a request, and no more
        self.receiving: StreamReader | None = None
        self.heard = False
        self.waiting = Waiting()

    @property
    def is_writable(self) -> bool:
        """Whether a handler may write without waiting for the client; of a WebSocket that is not known."""
        if self.is_upgraded:
            return False
        return self.idle_since is None and self.transport is not None and not self.writing_paused

    def data_received(self, data: bytes) -> None:
        """Parse *data*, serve what is complete, and stop a body that grows over the limit unannounced."""
        super().data_received(data)
        if self.queue:
            self._has_half_a_head = False
            payload = self.queue[-1][1]
            self.receiving = None if payload.is_eof() else payload
            self.begin()
        elif data and (self.receiving is None or self.receiving.is_eof()):
            self._has_half_a_head = True
            if self.idle_since is not None and self.head_since is None:
                self.head_since = self.loop.time()
        receiving = self.receiving
        if receiving is not None:
            self.heard = True
            if receiving.total_bytes > self._max_body_size:
                self.receiving = None
                if receiving.exception() is None:
                    receiving.set_exception(PayloadTooLargeError(self._max_body_size))

    def close_if_kept_alive(self) -> None:
        """End if it waits for another request than its first."""
        if self._has_served and self.idle_since is not None:
            self.close()

    def close(self) -> None:
        """End after the request that is being served; its body may still arrive."""
        self._is_last = True
        if self.idle_since is not None:
            self.force_close()
        elif self.is_handed_over:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """End now; the handler has *timeout* seconds to clean up."""
        self.end()
        task = self.task
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
        self.put_unreadable(error.status, error, error.message)
        self.begin()

    def abort(self) -> None:
        """End at once, whatever has not been sent."""
        self.force_close()
        self.wire.abort()

    async def serve(self, message: RawRequestMessage | Unreadable, payload: StreamReader) -> None:
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
            self._done(keep_alive=keep_alive)

    async def _exchange(
        self, message: RawRequestMessage | Unreadable, payload: StreamReader, task: asyncio.Task[None]
    ) -> bool:
        """Answer one request; say whether the connection may serve another."""
        pipeline, loop = self._pipeline, self.loop
        failure = None
        # aiohttp's parser in Python, unlike that in C, lets bytes above ASCII stand in a path.
        if isinstance(message, Unreadable) or message.version not in _VERSIONS or not message.path.isascii():
            failure = _failure_of(message)
            message = UNREAD
        unpacked, content = None, payload
        if message.compression and payload is not EMPTY_PAYLOAD:
            from agentserver._http.unpacking import UnpackedStream  # most bodies come as they are

            unpacked = UnpackedStream(payload, message.compression, self._max_body_size)
            content = unpacked.content
        exchange = pipeline.begin(message)
        request = self.request = self._request_class(
            message,
            content,
            self,
            HostWriter(self, loop),
            task,
            loop,
            client_max_size=self._max_body_size,
            state={EXCHANGE: exchange},
        )
        outcome: Outcome | None = None
        try:
            if failure is None:
                answer = await pipeline.answer(request, message, exchange)
            else:
                answer = pipeline.reject(exchange, failure)
            outcome, keep_alive = await send(self, request, exchange, answer, message, pipeline)
            return keep_alive
        finally:
            if unpacked is not None:
                unpacked.close()
            self.request = None
            release(request)
            pipeline.end(request, message, exchange, outcome)

    async def _discard(self, payload: StreamReader) -> bool:
        """Read what a client still sends, so that it can read the answer (RFC 9112, section 9.6)."""

        async def read_away() -> None:
            while not payload.is_eof():
                await payload.readany()

        error = payload.exception()
        if self.transport is None or not isinstance(error, PayloadTooLargeError | None):
            return False
        forget_error(payload)
        from agentserver._time_limit import wait_for  # few requests end so

        try:
            await wait_for(read_away(), _LINGERING)
        # The answer is out, and whatever is wrong with the rest of this body only ends its connection.
        except Exception:  # noqa: BLE001
            return False
        return True

    def _done(self, *, keep_alive: bool) -> None:
        self._has_served = True
        self.idle_since = self.loop.time()
        if not keep_alive or self._is_last:
            self.force_close()
        elif self.queue:
            self.loop.call_soon(self.begin, context=self.clean.copy())
        elif self._has_half_a_head:
            self.head_since = self.idle_since


class SurplusConnection(HostConnection):
    """A connection beyond the limit: its first request is told so, and it has little time to make one."""

    __slots__ = ()

    patience = 2.0

    def begin(self) -> None:
        self.queue.clear()
        full = InvocationError(
            ErrorCode.UNAVAILABLE,
            "The server has as many connections as it may have: try again later",
            status=503,
            headers={"Retry-After": "1"},
        )
        self.put_unreadable(full.status, full, full.message)
        super().begin()


def _too_slow(message: str) -> InvocationError:
    return InvocationError("request_timeout", message, status=408)


def _failure_of(message: RawRequestMessage | Unreadable) -> Failure:
    if isinstance(message, Unreadable) and isinstance(message.exc, InvocationError):
        return classify(message.exc)
    if isinstance(message, Unreadable) and isinstance(message.exc, LineTooLong):
        return _TOO_LONG
    return _MALFORMED
