"""The connections of one host: how many there may be, and the sweep that ends those that are too slow."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from contextlib import suppress
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from agentserver._http.aiohttp_internals import connection_count
from agentserver._http.connection import HostConnection, SurplusConnection
from agentserver._http.deadlines import ClientDeadlines
from agentserver._http.pipeline import Pipeline
from agentserver._http.request import request_class
from agentserver.options import AgentHostOptions

logger = logging.getLogger("agentserver")

_GRACE: Final = 1.0  # seconds that a request has which is cancelled with its connection
_FULL_INTERVAL: Final = 1.0  # seconds between two looks while connections are refused
_MAX_SURPLUS: Final = 1000  # those that are told why; what comes beyond them is cut at once


class HostServer(web.Server):
    """Makes the connections of one host.

    Args:
        pipeline: Answers every request.
        options: Of which the limits of connections apply.

    Attributes:
        context: The clean context, as it was when the server was made: whatever the server starts runs in
            a copy of it, so that nothing of one caller's reaches another.
    """

    def __init__(self, pipeline: Pipeline, options: AgentHostOptions) -> None:
        super().__init__(
            pipeline.run,  # type: ignore[arg-type]  # aiohttp types the low-level server by BaseRequest
            handler_cancellation=options.cancel_on_disconnect,
        )
        self.context = contextvars.copy_context()
        pipeline.context = self.context
        self._pipeline = pipeline
        self._requests = request_class(pipeline)
        self._event_loop = asyncio.get_running_loop()
        self._options = options
        self._deadlines = ClientDeadlines(options)
        self._sweeper: asyncio.TimerHandle | None = None
        self._open: set[RequestHandler] = set()
        self._all_closed = asyncio.Event()
        self._is_full = False

    def __call__(self) -> HostConnection:
        limit = self._options.max_connections
        if limit is None or connection_count(self) < limit:
            return HostConnection(self, self._pipeline, self._requests, self._event_loop, self._options)
        if not self._is_full:
            self._is_full = True
            self._sweep_in(_FULL_INTERVAL)
            logger.warning("%d connections are open, as many as may be: further ones are refused", limit)
        return SurplusConnection(self, self._pipeline, self._requests, self._event_loop, self._options)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Take note of a new connection."""
        super().connection_made(handler, transport)
        self._open.add(handler)
        limit = self._options.max_connections
        if limit is not None and connection_count(self) > limit + _MAX_SURPLUS:
            transport.abort()
        if self._sweeper is None:
            self.context.copy().run(self._sweep)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection whose last byte is out, or never will be."""
        super().connection_lost(handler, exc)
        self._open.discard(handler)
        if not self._open:
            self._all_closed.set()

    def close_kept_alive(self) -> None:
        """End the connections that wait for another request: they take no new work (contract, section 9)."""
        for connection in self.connections:
            assert isinstance(connection, HostConnection)
            connection.close_if_kept_alive()

    async def shutdown(self, timeout: float | None = None) -> None:
        """End all connections, whatever they are doing, and wait until what was sent has left the process.

        Args:
            timeout: Seconds that clients have to read it; what they have not read then is not sent. ``None``
                is no limit but that on a client that does not read.
        """
        await asyncio.gather(*(connection.shutdown(_GRACE) for connection in self.connections))
        self._all_closed.clear()
        if self._open:
            from agentserver._time_limit import wait_for  # no start pays for the end

            with suppress(asyncio.TimeoutError):
                await wait_for(self._all_closed.wait(), timeout)
        if self._open:
            logger.warning("%d clients did not read to the end what they were sent", len(self._open))
        for left in list(self._open):
            assert isinstance(left, HostConnection)
            left.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        now = self._event_loop.time()
        for connection in self.connections:
            assert isinstance(connection, HostConnection)
            connection.keep_to(self._deadlines, now)
        limit = self._options.max_connections
        self._is_full = self._is_full and limit is not None and connection_count(self) >= limit
        delay = min(self._deadlines.interval, _FULL_INTERVAL if self._is_full else math.inf)
        self._sweeper = None
        if connection_count(self):
            self._sweep_in(delay)

    def _sweep_in(self, delay: float) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweeper = self._event_loop.call_later(delay, self._sweep, context=self.context.copy())
