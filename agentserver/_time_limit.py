"""A limit of time on what is awaited, by which no cancellation is lost.

`asyncio.wait_for` of Python 3.10 and 3.11 gives the result, and forgets that it was cancelled, if both come
in one round of the event loop: who was told to end goes on. That of Python 3.12 gives up without asking if
there is no time left. This one does neither.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["wait_for"]

T = TypeVar("T")

if sys.version_info >= (3, 12):

    async def wait_for(asking: Awaitable[T], timeout: float | None) -> T:
        """See below."""
        async with asyncio.timeout(timeout):
            return await asking
else:

    async def wait_for(asking: Awaitable[T], timeout: float | None) -> T:
        """Await *asking*, which is cancelled when its time is up; what needs no waiting always has the time.

        Args:
            asking: What is awaited; with a limit, before Python 3.12, in a task of its own.
            timeout: Seconds that it may take; ``None`` is no limit.

        Raises:
            asyncio.TimeoutError: If it has not ended by then.
        """
        if timeout is None:
            return await asking
        task = asyncio.ensure_future(asking)
        try:
            await asyncio.wait({task}, timeout=timeout)
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
                if task.cancelled():
                    raise asyncio.TimeoutError
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # which nobody asks for any more
            raise
        return task.result()
