"""How a host behaves: every limit and switch of the process and of HTTP, checked when made."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from agentserver.errors import ConfigurationError

_SEGMENT = re.compile(r"[!-~]+/[!-~]+( \([ -'*-~]+\))?")
_NUMBERS = (
    "max_body_size",
    "shutdown_timeout",
    "shutdown_delay",
    "keepalive_timeout",
    "max_waiting",
    "wait_timeout",
    "retry_after",
    "blocked_loop_threshold",
)
_COUNTS = ("max_invocations", "max_session_invocations")


@dataclass(frozen=True, kw_only=True)
class AgentHostOptions:
    """The options of a host; ``builder.configure(max_body_size=…)`` replaces single ones.

    Args:
        host: Address to listen on; ``None`` is every interface, IPv4 and IPv6.
        port: TCP port, 0 to 65535; ``None`` takes ``PORT`` or 8088, 0 lets the system choose.
        max_body_size: Bytes a request body may have; above it 413 (contract, section 9).
        shutdown_timeout: Seconds for requests in flight at shutdown; ``None`` takes the environment's.
        shutdown_delay: Seconds between readiness turning 503 and the listener closing, so that a balancer
            can see it; 0 is none.
        cancel_on_disconnect: Whether a client that leaves cancels its handler.
        request_logging: Whether each request writes one log line.
        keepalive_timeout: Seconds an idle connection is kept open.
        server_segments: Further ``NAME/VERSION`` segments for ``x-platform-server``, after our own.
        max_invocations: Invocations that may run at once, 1 or more; ``None`` is no limit.
        max_session_invocations: Invocations of one session that may run at once, 1 or more; ``None`` is no
            limit.
        max_waiting: Invocations that may wait for a place under these two limits; beyond it they are refused
            with ``Retry-After``, 429 if their session is full, 503 if the server is.
        wait_timeout: Seconds an invocation may wait for its place before it is refused.
        retry_after: Whole seconds for ``Retry-After``.
        readiness_shows_saturation: Whether ``/readiness`` says 503 while a further invocation would be
            refused because of ``max_invocations``.
        blocked_loop_threshold: Seconds a handler may keep the event loop from running before a warning names
            it and ``/readiness`` is answered with 503 beside the loop; 0 is off.

    Raises:
        ConfigurationError: If a value is out of its range.
    """

    host: str | None = None
    port: int | None = None
    max_body_size: int = 30_000_000
    shutdown_timeout: float | None = None
    shutdown_delay: float = 0.0
    cancel_on_disconnect: bool = True
    request_logging: bool = True
    keepalive_timeout: float = 75.0
    server_segments: tuple[str, ...] = ()
    max_invocations: int | None = None
    max_session_invocations: int | None = None
    max_waiting: int = 0
    wait_timeout: float = 10.0
    retry_after: int = 1
    readiness_shows_saturation: bool = False
    blocked_loop_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.port is not None and not 0 <= self.port <= 65535:
            raise ConfigurationError(f"port is {self.port}, but it must be from 0 to 65535")
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and (not math.isfinite(value) or value < 0):
                raise ConfigurationError(f"{name} is {value}, but it must be a finite number, 0 or more")
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{name} is {value}, but it must be 1 or more, or None for no limit")
        for segment in self.server_segments:
            if not _SEGMENT.fullmatch(segment):
                raise ConfigurationError(
                    f"server segment {segment!r} must look like NAME/VERSION or NAME/VERSION (comment)"
                )
