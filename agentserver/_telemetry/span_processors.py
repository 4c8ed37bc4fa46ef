"""Span processors of anybody's that cannot hurt a request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from agentserver._telemetry.enrichment import Enrichment
from agentserver._telemetry.log_limit import ErrorLog
from agentserver._telemetry.opentelemetry_internals import EndingProcessor, notify_ending

_errors = ErrorLog(logging.getLogger("agentserver.telemetry"))


class GuardedProcessor(EndingProcessor):
    """A processor of somebody's that may raise: that is logged, and neither the request nor others notice.

    Args:
        processor: What is called.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A span has begun."""
        self._call(self._processor.on_start, span, parent_context)

    def on_ending(self, span: Span) -> None:
        """A span is ending."""
        self._call(notify_ending, self._processor, span)

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended."""
        self._call(self._processor.on_end, span)

    def shutdown(self) -> None:
        """The provider ends."""
        self._call(self._processor.shutdown)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the processor; whether it did."""
        return self._call(self._processor.force_flush, timeout_millis) is not False

    def _call(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        # The boundary of a user's processor: it runs inside of requests, which it must not break.
        except Exception as error:  # noqa: BLE001
            _errors.report(f"the span processor {type(self._processor).__name__} failed", error)
            return False


class GuardedProcessors(SynchronousMultiSpanProcessor):
    """The processors of our provider: the SDK calls one after another, and would stop at one that raises."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor, guarded unless it is known not to raise."""
        is_safe = type(span_processor) in {Enrichment, BatchSpanProcessor}
        super().add_span_processor(span_processor if is_safe else GuardedProcessor(span_processor))


def make_processors() -> GuardedProcessors:
    """Make an empty set of processors for a provider."""
    return GuardedProcessors()  # type: ignore[no-untyped-call]  # the SDK's constructor has no annotations
