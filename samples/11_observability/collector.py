"""A collector for one's own machine: takes OTLP over HTTP and prints each trace as a tree.

python collector.py [PORT]
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from aiohttp import web

QUIET_SECONDS = 0.3  # spans of one trace come in several exports

# Generated modules without types.
TRACES: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
METRICS: Any = import_module("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
LOGS: Any = import_module("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
# The framework's own attributes are many; the tree shows those of the agent, and how it ended.
SHOWN = ("http.response.status_code", "error.type")
HIDDEN = ("service.", "gen_ai.", "microsoft.", "azure.", "http.", "error.")


class Collector:
    """Keeps spans until their trace is quiet."""

    def __init__(self) -> None:
        self.traces: dict[bytes, list[Any]] = defaultdict(list)
        self.timers: dict[bytes, asyncio.TimerHandle] = {}
        self.counted: dict[str, float] = {}

    async def take_traces(self, request: web.Request) -> web.Response:
        """Answer ``POST /v1/traces``."""
        export = TRACES.ExportTraceServiceRequest.FromString(await request.read())
        loop = asyncio.get_running_loop()
        for span in (s for r in export.resource_spans for scope in r.scope_spans for s in scope.spans):
            self.traces[span.trace_id].append(span)
            if span.trace_id in self.timers:
                self.timers[span.trace_id].cancel()
            self.timers[span.trace_id] = loop.call_later(QUIET_SECONDS, self.print_trace, span.trace_id)
        return web.Response(content_type="application/x-protobuf")

    async def take_logs(self, request: web.Request) -> web.Response:
        """Answer ``POST /v1/logs``: records within a trace are printed."""
        export = LOGS.ExportLogsServiceRequest.FromString(await request.read())
        for scope in (scope for r in export.resource_logs for scope in r.scope_logs):
            for record in (record for record in scope.log_records if record.trace_id):
                trace_id = record.trace_id.hex()
                print(
                    f"log     {trace_id[:8]}  {record.severity_text} {scope.scope.name}:"
                    f" {record.body.string_value}",
                    flush=True,
                )
        return web.Response(content_type="application/x-protobuf")

    async def take_metrics(self, request: web.Request) -> web.Response:
        """Answer ``POST /v1/metrics``: counters that have moved are printed."""
        export = METRICS.ExportMetricsServiceRequest.FromString(await request.read())
        for metric in (
            m for r in export.resource_metrics for scope in r.scope_metrics for m in scope.metrics
        ):
            for point in metric.sum.data_points:
                name = f"{metric.name}{told(point.attributes)}"
                value = point.as_int or point.as_double
                if value != self.counted.get(name, 0):
                    self.counted[name] = value
                    print(f"metric  {name} = {value:g}", flush=True)
        return web.Response(content_type="application/x-protobuf")

    def print_trace(self, trace_id: bytes) -> None:
        """Print one trace as a tree, the spans of a parent in the order in which they began."""
        spans = sorted(self.traces.pop(trace_id), key=lambda span: span.start_time_unix_nano)
        del self.timers[trace_id]
        known = {span.span_id for span in spans}
        children: dict[bytes, list[Any]] = defaultdict(list)
        for span in spans:
            children[span.parent_span_id if span.parent_span_id in known else b""].append(span)
        print(f"trace   {trace_id.hex()}")
        for root in children[b""]:
            print_span(root, children, "", "")
        print(flush=True)


def print_span(span: Any, children: dict[bytes, list[Any]], first: str, others: str) -> None:
    """Print a span and those below it."""
    milliseconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
    line = f"{first}{span.name}"
    print(f"{line:34} {milliseconds:8.1f} ms {told(span.attributes)}".rstrip())
    below = children[span.span_id]
    for child in below:
        last = child is below[-1]
        print_span(child, children, others + ("└─ " if last else "├─ "), others + ("   " if last else "│  "))


def told(attributes: Iterable[Any]) -> str:
    """The attributes that are worth a place on the line."""
    pairs = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
    shown = [f"{k}={v}" for k, v in pairs.items() if k in SHOWN or not k.startswith(HIDDEN)]
    return f" {{{', '.join(shown)}}}" if shown else ""


def main() -> None:
    """Collect until interrupted."""
    collector = Collector()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/traces", collector.take_traces)
    app.router.add_post("/v1/metrics", collector.take_metrics)
    app.router.add_post("/v1/logs", collector.take_logs)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 4318
    print(f"collecting on http://localhost:{port}", flush=True)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
