"""How a host behaves: every limit and switch of the process and of HTTP, checked when made."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Final

from agentserver._record import record
from agentserver.errors import ConfigurationError

_SEGMENT: Final = r"[!-~]+/[!-~]+( \([ -'*-~]+\))?"
_AMOUNTS = (
    "max_body_size",
    "shutdown_timeout",
    "shutdown_delay",
    "keepalive_timeout",
    "header_timeout",
    "body_timeout",
    "write_timeout",
    "max_waiting",
    "wait_timeout",
    "retry_after",
    "blocked_loop_threshold",
)
_COUNTS = ("max_request_line", "max_header_size", "max_header_count")
_LIMITS = ("max_connections", "max_invocations", "max_session_invocations")


@record(frozen=True, kw_only=True)
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
        header_timeout: Seconds from the first byte of a request to the end of its headers; then 408. 0 is no
            limit, as for the two that follow.
        body_timeout: Seconds without a byte of a body that the handler waits for; then 408.
        write_timeout: Seconds in which a client reads nothing of what waits for it; then it is cut off.
        max_connections: Connections that may be open, WebSockets included, 1 or more; a request on a further
            one is answered with 503. ``None`` is no limit.
        max_request_line: Characters a request's path and query may have; above it 400, as for the next two.
        max_header_size: Characters one header field may have.
        max_header_count: Header fields a request may have, 1 or more.
        server_segments: Further ``NAME/VERSION`` segments for ``x-platform-server``, after our own.
        max_invocations: Invocations that may run at once, 1 or more; ``None`` is no limit. An open WebSocket
            is one.
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
    header_timeout: float = 30.0
    body_timeout: float = 60.0
    write_timeout: float = 60.0
    max_connections: int | None = 10_000
    max_request_line: int = 8190
    max_header_size: int = 8190
    max_header_count: int = 128
    server_segments: tuple[str, ...] = ()
    max_invocations: int | None = None
    max_session_invocations: int | None = None
    max_waiting: int = 0
    wait_timeout: float = 10.0
    retry_after: int = 1
    readiness_shows_saturation: bool = False
    blocked_loop_threshold: float = 0.5

    def __post_init__(self) -> None:
        self._check("port", "a whole number from 0 to 65535", _is_port)
        for name in _AMOUNTS:
            self._check(name, "a finite number, 0 or more", _is_amount)
        for name in _COUNTS:
            self._check(name, "a whole number, 1 or more", _is_count)
        for name in _LIMITS:
            self._check(name, "a whole number, 1 or more, or None for no limit", _is_count)
        if isinstance(self.server_segments, str):
            raise ConfigurationError("server_segments must be a tuple, such as ('assistant/1.0',)")
        for segment in self.server_segments:
            if not re.fullmatch(_SEGMENT, segment):
                raise ConfigurationError(
                    f"server segment {segment!r} must look like NAME/VERSION or NAME/VERSION (comment)"
                )

    def _check(self, name: str, expected: str, is_good: Callable[[object], bool]) -> None:
        value = getattr(self, name)
        may_be_none = "None" in str(self.__dataclass_fields__[name].type)
        if not (value is None and may_be_none) and not is_good(value):
            raise ConfigurationError(f"{name} is {value!r}, but it must be {expected}")


def _is_port(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= 65535


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _is_amount(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
