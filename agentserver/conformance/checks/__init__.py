"""Checks that data cannot say: comparisons between answers, times, orders.

Each is a function of one observation: it returns the sentence of a miss, or ``None``.
"""

from __future__ import annotations

from agentserver.conformance.checks import actions, http, lifetime, websocket
from agentserver.conformance.checks.registry import CHECKS, Check, check

__all__ = ["CHECKS", "Check", "actions", "check", "http", "lifetime", "websocket"]
