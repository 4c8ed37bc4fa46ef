"""The telemetry of a host's durable runs: begun once there is use for it, as that of its requests."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentserver._telemetry.observer import OPENTELEMETRY, Observed
from agentserver.wire import TRACEPARENT_HEADER, TRACESTATE_HEADER

if TYPE_CHECKING:
    from agentserver._telemetry.run_observer import Counts, RunObserver


class RunTelemetry:
    """Gives the observer of a host's runs.

    Args:
        counts: Read when metrics are.

    Attributes:
        server: What serves the host's requests, and has their observer; ``None`` until it is made.
    """

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._observer: RunObserver | None = None
        self.server: Observed | None = None

    def __call__(self) -> RunObserver | None:
        """The observer; ``None`` while telemetry is off."""
        server = self.server
        if self._observer is None and server is not None:
            if server.observer is None and OPENTELEMETRY in sys.modules and server.observe is not None:
                server.observer = server.observe()
            if server.observer is not None:
                self._observer = server.observer.runs(self._counts)
        return self._observer


def with_current_span(headers: Mapping[str, str]) -> Mapping[str, str]:
    """*headers*, in lower case, with the span that is current now as the parent of what keeps them."""
    if OPENTELEMETRY not in sys.modules:
        return headers
    from opentelemetry import propagate

    current: dict[str, str] = {}
    propagate.inject(current)
    if TRACEPARENT_HEADER not in current:
        return headers
    kept = {name: value for name, value in headers.items() if name != TRACESTATE_HEADER}
    for name in (TRACEPARENT_HEADER, TRACESTATE_HEADER):
        if name in current:
            kept[name] = current[name]
    return kept
