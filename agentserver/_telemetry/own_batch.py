"""The framework's own spans on their way to the exporter: encoded, queued and sent many at a time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from typing import Any, Final, NamedTuple

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context, attach
from opentelemetry.sdk.trace import SpanProcessor

from agentserver._telemetry.own_span import OwnSpan
from agentserver._telemetry.settings import BatchLimits

_TOGETHER: Final = 32  # spans: encoded in one go they cost half of what they cost one by one
_DELAY: Final = 0.05  # seconds
_QUIET: Final = 60.0  # seconds

logger = logging.getLogger("agentserver.telemetry")


class _Chunk(NamedTuple):
    spans: int
    encoded: bytes


class OwnBatch(SpanProcessor):
    """A queue of the framework's spans, and the thread that sends them.

    What does not fit is dropped and told of, at most once a minute; a collector that is slow or gone costs
    memory up to the queue's size, and no request anything.

    Args:
        exporter: Takes a list of encoded spans, several of them in one `bytes`.
        limits: How many spans wait and go together, and how long they wait.
    """

    def __init__(self, exporter: Any, limits: BatchLimits) -> None:
        self._exporter = exporter
        self._limits = limits
        self._ended: deque[OwnSpan] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[_Chunk] = deque()
        self._queued = 0
        self._dropped_at = 0.0
        self._queueing = threading.Lock()
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="agentserver-spans", daemon=True)
        self._thread.start()

    def take(self, span: OwnSpan) -> None:
        """Take *span*, which has ended; called in any thread."""
        self._ended.append(span)
        if len(self._ended) >= _TOGETHER:
            self._encode()
        elif self._timer is None:
            try:
                self._timer = asyncio.get_running_loop().call_later(_DELAY, self._on_time)
            except RuntimeError:  # a handler ended it in a thread
                self._encode()

    def _on_time(self) -> None:
        self._timer = None
        self._encode()

    def _encode(self) -> None:
        encoded: list[bytes] = []
        while self._ended:
            try:
                encoded.append(self._ended.popleft().encode())
            except IndexError:  # another thread was faster
                break
            # Attributes are anybody's objects: one that cannot be written must not hurt a request.
            except Exception:
                logger.exception("a span could not be exported")
        if not encoded or self._stopped:
            return
        with self._queueing:
            fits = self._queued + len(encoded) <= self._limits.queue
            if fits:
                self._queue.append(_Chunk(len(encoded), b"".join(encoded)))
                self._queued += len(encoded)
        if not fits:
            self._tell_of_drops()
        if self._queued >= self._limits.together:
            self._wake.set()

    def _tell_of_drops(self) -> None:
        now = time.monotonic()
        if now - self._dropped_at > _QUIET or not self._dropped_at:
            self._dropped_at = now
            logger.warning("spans are dropped: the collector takes them more slowly than they are made")

    def _run(self) -> None:
        # Whatever the exporter does for us is not traced.
        attach(Context({_SUPPRESS_INSTRUMENTATION_KEY: True}))
        while not self._stopped:
            self._wake.wait(self._limits.delay)
            self._wake.clear()
            self._send()

    def _send(self) -> None:
        with self._sending:
            while batch := self._next():
                try:
                    self._exporter.export(batch)
                # Somebody's collector, or the way there; the exporter reports what it expects.
                except Exception:
                    logger.exception("spans could not be exported")

    def _next(self) -> list[bytes]:
        batch: list[bytes] = []
        spans = 0
        with self._queueing:
            while self._queue and (not batch or spans + self._queue[0].spans <= self._limits.together):
                chunk = self._queue.popleft()
                spans += chunk.spans
                batch.append(chunk.encoded)
            self._queued -= spans
        return batch

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send everything now."""
        self._encode()
        self._send()
        return True

    def shutdown(self) -> None:
        """Send everything, and take nothing more."""
        self._encode()
        self._stopped = True
        self._wake.set()
        self._thread.join()
        self._send()
