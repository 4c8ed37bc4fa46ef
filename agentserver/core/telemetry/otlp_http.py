"""The span exporter over http/protobuf, which takes the framework's spans in their own encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from agentserver.core.telemetry.own_span import OwnSpan, encode_request

_Span = ReadableSpan | OwnSpan


class SpanExporter(OTLPSpanExporter):
    """OpenTelemetry's exporter for the spans of the SDK, and its transport for the framework's own."""

    def takes_own_spans(self) -> bool:
        """Whether the transport is where this version of OpenTelemetry has it."""
        return callable(getattr(getattr(self, "_client", None), "export", None))

    def export(self, spans: Sequence[_Span]) -> SpanExportResult:
        """Send a batch."""
        own = [span for span in spans if isinstance(span, OwnSpan)]
        others = [span for span in spans if isinstance(span, ReadableSpan)]
        result = super().export(others) if others else SpanExportResult.SUCCESS
        if own and not self._shutdown:
            client: Any = self._client
            if not client.export(encode_request(own)).success:
                result = SpanExportResult.FAILURE
        return result
