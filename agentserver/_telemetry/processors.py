"""What every span of the process goes through: enrichment, and processors that cannot hurt a request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import (
    ReadableSpan,
    Span,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)

from agentserver._telemetry.attributes import SESSION_ID, Attributes
from agentserver.wire import SESSION_ID_BAGGAGE

logger = logging.getLogger("agentserver.telemetry")


class Enrichment(SpanProcessor):
    """Puts the agent's attributes and the session id on every span (contract, section 7).

    Args:
        attributes: What is the same for every span.
        own_scope: The instrumentation scope of the framework's spans, which have all of it already.
    """

    def __init__(self, attributes: Attributes, own_scope: str) -> None:
        self._attributes = attributes
        self._own_scope = own_scope

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Add what *span* does not have yet."""
        scope = span.instrumentation_scope
        if scope is not None and scope.name == self._own_scope:
            return
        attributes = dict(self._attributes)
        session_id = baggage.get_baggage(SESSION_ID_BAGGAGE, parent_context)
        if isinstance(session_id, str):
            attributes[SESSION_ID] = session_id
        span.set_attributes(attributes)


class GuardedProcessors(SynchronousMultiSpanProcessor):
    """Calls the processors one after another; one that raises is reported, and the others go on."""

    alone = True
    """Whether there are only processors of the framework."""

    def add_own(self, processor: SpanProcessor, *, first: bool = False) -> None:
        """Add a processor of the framework; *first* is shut down before the others."""
        super().add_span_processor(processor)
        if first:
            self._span_processors = (processor, *self._span_processors[:-1])

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor of anybody's: from now on the framework's spans are the SDK's, for it to see."""
        self.alone = False
        super().add_span_processor(span_processor)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span has begun."""
        for processor in self._span_processors:
            _guarded(processor, processor.on_start, span, parent_context)

    def _on_ending(self, span: Span) -> None:
        for processor in self._span_processors:
            _guarded(processor, processor._on_ending, span)

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended."""
        for processor in self._span_processors:
            _guarded(processor, processor.on_end, span)

    def shutdown(self) -> None:
        """The provider ends."""
        for processor in self._span_processors:
            _guarded(processor, processor.shutdown)


def enrich(provider: TracerProvider, attributes: Attributes, own_scope: str) -> None:
    """Have every span of *provider* get *attributes* and the session id, those of *own_scope* excepted."""
    enrichment = Enrichment(attributes, own_scope)
    processors = provider._active_span_processor
    if isinstance(processors, GuardedProcessors):
        processors.add_own(enrichment)
    else:
        provider.add_span_processor(enrichment)


def make_processors() -> GuardedProcessors:
    """Make an empty set of processors for a provider."""
    return GuardedProcessors()  # type: ignore[no-untyped-call]  # the SDK's constructor has no annotations


def _guarded(processor: SpanProcessor, call: Callable[..., Any], *arguments: Any) -> None:
    try:
        call(*arguments)
    # The boundary of a user's processor: it runs inside of requests, which it must not break.
    except Exception:
        logger.exception("the span processor %s failed", type(processor).__name__)
