"""What type checkers are told of ``builder.configure(…)``; not loaded while a server runs.

The options themselves, their defaults and what they mean are in `AgentHostOptions`. A test holds that both
have the same names and types: Python has no way to derive this from a dataclass that type checkers follow.
"""

from __future__ import annotations

from typing import TypedDict


class ConfigureArguments(TypedDict, total=False):
    """The options of `AgentHostOptions`, each of which may be left out."""

    host: str | None
    port: int | None
    max_body_size: int
    shutdown_timeout: float | None
    shutdown_delay: float
    cancel_on_disconnect: bool
    request_logging: bool
    keepalive_timeout: float
    header_timeout: float
    body_timeout: float
    write_timeout: float
    max_connections: int | None
    max_request_line: int
    max_header_size: int
    max_header_count: int
    server_segments: tuple[str, ...]
    max_invocations: int | None
    max_session_invocations: int | None
    max_waiting: int
    wait_timeout: float
    retry_after: int
    readiness_shows_saturation: bool
    blocked_loop_threshold: float
