"""The span exporter over gRPC, which takes the framework's spans in their own encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan

from agentserver.core.telemetry.own_span import OwnSpan, encode_request


class SpanExporter(OTLPSpanExporter):
    """OpenTelemetry's exporter; the framework's spans are merged into its message."""

    def takes_own_spans(self) -> bool:
        """Whether this version of OpenTelemetry makes its message where this one looks for it."""
        return callable(getattr(OTLPSpanExporter, "_translate_data", None))

    def _translate_data(self, data: Sequence[ReadableSpan | OwnSpan]) -> Any:
        message: Any = super()._translate_data([span for span in data if isinstance(span, ReadableSpan)])
        own = [span for span in data if isinstance(span, OwnSpan)]
        if own:
            message.MergeFromString(encode_request(own))
        return message
