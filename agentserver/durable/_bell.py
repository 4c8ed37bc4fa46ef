"""A way to be woken: by somebody, or by time."""

from __future__ import annotations

import asyncio


class Bell:
    """One waits, others ring. Unlike `asyncio.wait_for`, it never swallows a cancellation (Python 3.11)."""

    def __init__(self) -> None:
        self._is_rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._is_rung = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout: float) -> None:
        """Wait until it has rung since the last time, *timeout* seconds at most."""
        if not self._is_rung:
            self._waiter = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._waiter}, timeout=timeout)
        self._is_rung = False
