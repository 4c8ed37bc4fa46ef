"""Whether anybody wants a framework's spans."""

from __future__ import annotations

import sys

from agentserver._telemetry.observer import OPENTELEMETRY


def is_traced() -> bool:
    """Whether the process has somewhere to send spans; without it no framework is asked to make any."""
    if OPENTELEMETRY not in sys.modules:
        return False
    from opentelemetry import trace

    return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))
