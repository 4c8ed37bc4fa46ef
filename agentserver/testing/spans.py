"""The spans that end while a test runs, the framework's and the handler's own (contract, section 7)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from agentserver.testing.conditions import DEADLINE_SECONDS, until

__all__ = ["CapturedSpans", "capture_spans"]


class CapturedSpans:
    """The spans that have ended so far, in the order of their ends."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def __iter__(self) -> Iterator[ReadableSpan]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [span.name for span in self._spans]

    async def named(self, name: str, *, timeout: float = DEADLINE_SECONDS) -> ReadableSpan:
        """The first span with the name *name*; waits for its end.

        Raises:
            AssertionError: If none ends within *timeout* seconds.
        """
        await until(lambda: name in self.names, timeout=timeout, what=f"the end of a span {name!r}")
        return self._spans[self.names.index(name)]

    def children_of(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """The spans whose parent is *parent*."""
        own = parent.get_span_context()
        return [
            span
            for span in self._spans
            if own is not None and span.parent is not None and span.parent.span_id == own.span_id
        ]

    def add(self, span: ReadableSpan) -> None:
        """Take *span*, the next."""
        self._spans.append(span)


class _SpanListener(SpanProcessor):
    """Stays with its provider, which cannot let it go, and passes spans on while somebody listens."""

    def __init__(self) -> None:
        self.listeners: list[CapturedSpans] = []

    def on_end(self, span: ReadableSpan) -> None:
        for spans in self.listeners:
            spans.add(span)


_listeners: WeakKeyDictionary[TracerProvider, _SpanListener] = WeakKeyDictionary()


@contextmanager
def capture_spans() -> Generator[CapturedSpans, None, None]:
    """Collect the spans that end within the block, nothing of them exported.

    .. code-block:: python

        with capture_spans() as spans:
            async with in_process(MyHandler) as agent:
                await agent.client.invoke("hello")
            span = await spans.named("invoke_agent")

    Enter it before the agent is started. If the program has no tracer provider yet, it has one from here on,
    for OpenTelemetry sets it once and for all.

    Yields:
        The spans that have ended so far.

    Raises:
        RuntimeError: If the program has set a provider that is not the SDK's.
    """
    listener = _listener_of(_provider())
    spans = CapturedSpans()
    listener.listeners.append(spans)
    try:
        yield spans
    finally:
        listener.listeners.remove(spans)


def _provider() -> TracerProvider:
    provider: Any = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    if not isinstance(provider, TracerProvider):
        kind = type(provider).__name__
        raise RuntimeError(  # noqa: TRY004 - it is the type of no argument
            f"spans cannot be captured from a {kind}: use the SDK's provider"
        )
    return provider


def _listener_of(provider: TracerProvider) -> _SpanListener:
    listener = _listeners.get(provider)
    if listener is None:
        listener = _listeners[provider] = _SpanListener()
        provider.add_span_processor(listener)
    return listener
