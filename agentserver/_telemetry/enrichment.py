"""The agent's attributes on every span of the process, on whoever's provider."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from agentserver._telemetry.attributes import SCOPE, SESSION_ID, Attributes
from agentserver.wire import SESSION_ID_BAGGAGE

_enriched: Final[WeakKeyDictionary[Any, list[Attributes]]] = WeakKeyDictionary()


def enrich(provider: Any, attributes: Attributes) -> None:
    """Put *attributes* on every span of *provider*, of the SDK; once, however many hosts ask for it."""
    known = _enriched.setdefault(provider, [])
    if attributes not in known:
        known.append(attributes)
        provider.add_span_processor(Enrichment(attributes))


class Enrichment(SpanProcessor):
    """Puts the agent's attributes and the session id on every span (contract, section 7).

    The framework's own spans have all of it from their beginning and are left alone.

    Args:
        attributes: What is the same for every span.
    """

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add what *span* does not have yet."""
        scope = span.instrumentation_scope
        if scope is not None and scope.name == SCOPE:
            return
        session_id = baggage.get_baggage(SESSION_ID_BAGGAGE, parent_context)
        if isinstance(session_id, str):
            span.set_attributes({**self._attributes, SESSION_ID: session_id})
        elif self._attributes:
            span.set_attributes(self._attributes)
