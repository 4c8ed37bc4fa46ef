"""Notices when the event loop does not run, and names who keeps it from running.

A thread asks the loop for a sign of life a few times a second. If there is none for too long, the thread
says in the log whose code runs, once for each function. Nothing is answered meanwhile: a probe that times out
tells a balancer what it needs to know. What holds Python's global lock too, such as a long call into a C
extension that does not release it, stops this thread as well and is not seen.

While the process does next to nothing, the thread rests until `Lifetime` says that there is work, so that an
idle server is left asleep. It looks every ten seconds then, which is also how long a timer of somebody's own
may block an idle loop without being seen.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

from agentserver._http.lifetime import Lifetime

logger = logging.getLogger("agentserver")

_FRAMEWORK: Final = frozenset({"aiohttp", "asyncio", "contextlib", "selectors", "uvloop"})
_OWN: Final = "agentserver."
_IDLE_SHARE: Final = 0.01
"""Of a core: a process that takes less between two looks is idle. A look itself takes a tenth of it."""
_LONGEST_REST: Final = 10.0
"""Seconds after which an idle loop is looked at nevertheless."""


class Watchdog:
    """Watches the running loop from a thread of its own, until ``stop()``.

    Args:
        threshold: Seconds without a sign of life after which the loop counts as blocked, more than 0.
        lifetime: Says when there is work.
    """

    def __init__(self, threshold: float, lifetime: Lifetime) -> None:
        self._threshold = threshold
        self._lifetime = lifetime
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._alive = threading.Event()
        self._stopped = threading.Event()
        self._work = threading.Event()
        self._named: set[str] = set()
        self._thread = threading.Thread(target=self._watch, name="agentserver-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, without waiting for it: it may be in the middle of a line of the log."""
        self._stopped.set()
        self._alive.set()
        self._work.set()

    def _watch(self) -> None:
        pause = self._threshold / 2
        used = time.process_time()
        while not self._stopped.wait(pause):
            self._alive.clear()
            try:
                self._loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:  # the loop was closed without stop()
                return
            if not self._alive.wait(self._threshold) and not self._stopped.is_set():
                self._warn_once()
            self._alive.wait()
            if time.process_time() - used < _IDLE_SHARE * pause:
                self._rest()
            used = time.process_time()

    def _rest(self) -> None:
        self._work.clear()
        if not self._stopped.is_set():  # else stop() may have set what was just cleared
            self._lifetime.on_work = self._work.set
            self._work.wait(_LONGEST_REST)
            self._lifetime.on_work = None

    def _warn_once(self) -> None:
        culprit = culprit_of(sys._current_frames().get(self._loop_thread))
        if culprit is None:
            return
        name, place = culprit
        if name in self._named:
            return
        self._named.add(name)
        # In a thread of its own: a log that nobody reads may be the very thing that blocks the loop.
        threading.Thread(target=self._warn, args=(name, place), daemon=True).start()

    def _warn(self, name: str, place: str) -> None:
        logger.warning(
            "%s has kept the event loop from running for more than %g s (%s), and nothing else is served"
            " meanwhile: await an async function instead, or await asyncio.to_thread(function, ...)",
            name,
            self._threshold,
            place,
        )


def culprit_of(innermost: FrameType | None) -> tuple[str, str] | None:
    """Name whose code runs on a stack, and where: the first that was called from the event loop.

    Args:
        innermost: The last frame of the loop's thread.

    Returns:
        A qualified name and ``FILE:LINE``; ``None`` if nothing runs but the loop itself.
    """
    stack = list(_outwards(innermost))[::-1]
    begin = next((i for i, frame in enumerate(stack) if _is_framework(frame)), len(stack))
    for frame in stack[begin:]:
        if not _is_framework(frame):
            code = frame.f_code
            # Python 3.10 knows the function's own name only.
            name: str = getattr(code, "co_qualname", code.co_name)
            return name.rpartition("<locals>.")[2], f"{code.co_filename}:{frame.f_lineno}"
    return None


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_framework(frame: FrameType) -> bool:
    module: str = frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in _FRAMEWORK or module.startswith(_OWN)
