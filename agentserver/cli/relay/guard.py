"""Who may use a relay, which has a token that its callers do not have. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from multidict import CIMultiDictProxy

__all__ = ["refusal"]

_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")


def refusal(headers: CIMultiDictProxy[str], port: int, origins: Collection[str] | None) -> str:
    """Why a call is not carried on; empty for one that is.

    Args:
        headers: The call's.
        port: The relay's own.
        origins: Of the pages that may use it, and nobody else may; ``None`` if no page may, but programs.
    """
    found = headers.getall("host", [])
    if len(found) != 1 or found[0].lower() not in {f"{name}:{port}" for name in _NAMES}:
        return "The Host header names another server than this relay"
    said = headers.getall("origin", [])
    if origins is None:
        return "This relay is for programs, not for pages" if said or "sec-fetch-site" in headers else ""
    if len(said) == 1 and said[0] in origins:
        return ""
    return f"The relay is for pages of {', '.join(sorted(origins))} alone: name others with --origin"
