"""The span exporter over http/protobuf, which takes the framework's spans as they are encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from agentserver._telemetry import otlp


class SpanExporter(OTLPSpanExporter):
    """OpenTelemetry's exporter for the spans of the SDK, and its transport for the framework's own.

    Attributes:
        resource: The attributes of the resource that the framework's spans are of.
    """

    resource: Mapping[str, Any] = {}

    def takes_own_spans(self) -> bool:
        """Whether the transport is where this version of OpenTelemetry has it."""
        return callable(getattr(getattr(self, "_client", None), "export", None))

    def export(self, spans: Sequence[ReadableSpan | bytes]) -> SpanExportResult:
        """Send a batch."""
        own = [span for span in spans if isinstance(span, bytes)]
        others = [span for span in spans if not isinstance(span, bytes)]
        result = super().export(others) if others else SpanExportResult.SUCCESS
        if own and not self._shutdown:
            client: Any = self._client
            if not client.export(otlp.request(self.resource, own)).success:
                result = SpanExportResult.FAILURE
        return result
