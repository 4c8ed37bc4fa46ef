"""The span exporter over gRPC, which takes the framework's spans as they are encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan

from agentserver._telemetry import otlp


class SpanExporter(OTLPSpanExporter):
    """OpenTelemetry's exporter; the framework's spans are merged into its message.

    Attributes:
        resource: The attributes of the resource that the framework's spans are of.
    """

    resource: Mapping[str, Any] = {}

    def takes_own_spans(self) -> bool:
        """Whether this version of OpenTelemetry makes its message where this one looks for it."""
        return callable(getattr(OTLPSpanExporter, "_translate_data", None))

    def _translate_data(self, data: Sequence[ReadableSpan | bytes]) -> Any:
        message: Any = super()._translate_data([span for span in data if not isinstance(span, bytes)])
        own = [span for span in data if isinstance(span, bytes)]
        if own:
            message.MergeFromString(otlp.request(self.resource, own))
        return message
