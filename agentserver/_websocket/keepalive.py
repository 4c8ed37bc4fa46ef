"""Pings on a silent WebSocket, and the end of one whose client does not answer them."""

from __future__ import annotations

import asyncio

from agentserver._websocket.connection import Link


class Keepalive:
    """Pings the client of *link* every *interval* seconds; one that is silent after a Ping is given up.

    aiohttp's own heartbeat takes a client for dead that is merely stopped by a handler that does not read.
    """

    __slots__ = ("_interval", "_link", "_loop", "_timer")

    def __init__(self, link: Link, interval: float) -> None:
        self._link = link
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(interval, self._tick)

    def stop(self) -> None:
        """Ping no more."""
        self._timer.cancel()

    def _tick(self) -> None:
        link = self._link
        if not link.heard and not link.stalled:
            link.give_up()
            return
        link.heard = link.stalled
        link.ping()
        self._timer = self._loop.call_later(self._interval, self._tick)
