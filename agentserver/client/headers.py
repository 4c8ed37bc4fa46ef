"""Headers by which callers speak to the handler itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agentserver.wire import CLIENT_HEADER_PREFIX

__all__ = ["prefixed"]


def prefixed(headers: Mapping[str, str] | None) -> dict[str, str]:
    """*headers* under the names a handler sees: with ``x-client-`` before those that lack it."""
    return {
        name if name.lower().startswith(CLIENT_HEADER_PREFIX) else CLIENT_HEADER_PREFIX + name: value
        for name, value in (headers or {}).items()
    }
