"""The connections of one host, and the sweep that ends those that have been idle for too long."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from agentserver.core._connection import HostConnection
from agentserver.core._pipeline import Pipeline

_SWEEP: Final = 1.0  # seconds; one timer for all connections costs less than one for each


class HostServer(web.Server):
    """Makes the connections of one host.

    Args:
        pipeline: Answers every request.
        cancel_on_disconnect: Whether a client that leaves cancels its handler.
        keepalive_timeout: Seconds an idle connection is kept.
    """

    def __init__(self, pipeline: Pipeline, *, cancel_on_disconnect: bool, keepalive_timeout: float) -> None:
        super().__init__(
            pipeline.run,  # type: ignore[arg-type]  # aiohttp types the low-level server by BaseRequest
            handler_cancellation=cancel_on_disconnect,
        )
        self._pipeline = pipeline
        self._keepalive_timeout = keepalive_timeout
        self._sweeper: asyncio.TimerHandle | None = None

    def __call__(self) -> HostConnection:
        return HostConnection(self, self._pipeline, self._loop)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Take note of a new connection."""
        super().connection_made(handler, transport)
        if self._sweeper is None:
            self._sweep()

    async def shutdown(self, timeout: float | None = None) -> None:
        """End all connections, whatever they are doing."""
        await super().shutdown(timeout)
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _sweep(self) -> None:
        oldest = self._loop.time() - self._keepalive_timeout
        for connection in self.connections:
            assert isinstance(connection, HostConnection)
            if connection.idle_since is not None and connection.idle_since < oldest:
                connection.force_close()
        self._sweeper = self._loop.call_later(_SWEEP, self._sweep) if self._connections else None
