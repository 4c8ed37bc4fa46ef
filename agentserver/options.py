"""How a host behaves: every limit and switch of the process and of HTTP, checked when made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentserver._checks import SECONDS, SWITCH, TEXT, Check, check_options, optional, texts, whole
from agentserver.errors import ConfigurationError

_SEGMENT: Final = r"[!-~]+/[!-~]+( \([ -'*-~]+\))?"
_LIMIT: Final = optional(whole(1), "no limit")
_CHECKS: Final[Mapping[str, Check]] = {
    "host": optional(TEXT, "every interface"),
    "port": optional(whole(0, 65535), "PORT or 8088"),
    "max_body_size": whole(0),
    "shutdown_timeout": optional(SECONDS, "the environment's"),
    "shutdown_delay": SECONDS,
    "cancel_on_disconnect": SWITCH,
    "request_logging": SWITCH,
    "keepalive_timeout": SECONDS,
    "header_timeout": SECONDS,
    "body_timeout": SECONDS,
    "write_timeout": SECONDS,
    "max_connections": _LIMIT,
    "max_request_line": whole(1),
    "max_header_size": whole(1),
    "max_header_count": whole(1),
    "server_segments": texts("assistant/1.0"),
    "max_invocations": _LIMIT,
    "max_session_invocations": _LIMIT,
    "max_waiting": whole(0),
    "wait_timeout": SECONDS,
    "retry_after": whole(0),
    "readiness_shows_saturation": SWITCH,
    "blocked_loop_threshold": SECONDS,
}


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
        keepalive_timeout: Seconds an idle connection is kept open; 0 closes each after its first answer.
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
            it; 0 is off.

    Raises:
        ConfigurationError: If a value is of another type, or out of its range.
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
        check_options(self, _CHECKS)
        for segment in self.server_segments:
            if not re.fullmatch(_SEGMENT, segment):
                raise ConfigurationError(
                    f"server segment {segment!r} must look like NAME/VERSION or NAME/VERSION (comment)"
                )
