"""The ids of the request that the running task serves, as every log record made there carries them."""

from __future__ import annotations

import sys
from typing import Any

from agentserver._http.exchange import Exchange, current_exchange
from agentserver._telemetry.observer import OPENTELEMETRY


def correlation() -> dict[str, str]:
    """The ids of the exchange that the running task serves; empty outside one."""
    exchange = current_exchange.get()
    if exchange is None:
        return {}
    ids = {**exchange.correlation, "request_id": exchange.request_id}
    trace_id = trace_id_of(exchange)
    if trace_id:
        ids["trace_id"] = trace_id
    return ids


def trace_id_of(exchange: Exchange) -> str:
    """The trace that a record belongs to: the active span's, else the caller's; empty without either."""
    if exchange.trace_id:
        return exchange.trace_id
    trace: Any = sys.modules.get(OPENTELEMETRY)
    if trace is not None:
        active = trace.get_current_span().get_span_context()
        if active.is_valid:
            return str(trace.format_trace_id(active.trace_id))
    return "" if exchange.parent is None else exchange.parent.trace_id
