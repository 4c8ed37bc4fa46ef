"""Whose an invocation is, for those who keep something of it."""

from __future__ import annotations

import hashlib

from agentserver.invocations.context import InvocationContext


def owner_of(context: InvocationContext) -> str:
    """Who asks, as a digest; empty if the platform does not say."""
    who = context.isolation.user_isolation_key or context.platform.user_id
    return "" if who is None else hashlib.sha256(who.encode("utf-8", "surrogateescape")).hexdigest()[:32]
