"""Spans of a framework that tells of its work in callbacks; what was said is in none of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

_SCOPE: Final = "agentserver.integrations"
_OPERATION: Final = "gen_ai.operation.name"


class SpanTree:
    """The spans of one run, below the span of its request.

    Args:
        framework: Its name, an attribute of every span.
    """

    def __init__(self, framework: str) -> None:
        self._framework = framework
        self._tracer = trace.get_tracer(_SCOPE)
        self._request = trace.get_current_span()
        self._open: dict[Hashable, Span] = {}

    def begin(
        self,
        key: Hashable,
        operation: str,
        name: str,
        attributes: Mapping[str, Any],
        *,
        parent: Hashable = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        """Begin the span of *key*, ``OPERATION NAME``, below that of *parent*, if there is one."""
        above = trace.set_span_in_context(self._open.get(parent, self._request))
        known = {key: value for key, value in attributes.items() if value}
        own = {_OPERATION: operation, "agentserver.framework": self._framework}
        label = f"{operation} {name}" if name else operation
        self._open[key] = self._tracer.start_span(
            label, context=above, kind=kind, attributes={**own, **known}
        )

    def end(
        self, key: Hashable, error: BaseException | None = None, attributes: Mapping[str, Any] | None = None
    ) -> None:
        """End the span of *key*, if there is one; *error* is what it failed with."""
        span = self._open.pop(key, None)
        if span is None:
            return
        if attributes:
            span.set_attributes(attributes)
        if error is not None:
            span.record_exception(error)
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self, error: BaseException | None = None) -> None:
        """End what is still open: the run has ended in the middle of it, with *error* if it failed."""
        for key in [*self._open]:
            self.end(key, error if isinstance(error, Exception) else None)
