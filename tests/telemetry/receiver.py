"""A real OTLP receiver, over gRPC and HTTP, inside the test's loop."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from aiohttp import web

# Without stubs, so that they are imported as Any.
grpc: Any = import_module("grpc")
_TRACES: Any = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
_METRICS: Any = import_module("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
_LOGS: Any = import_module("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
DEADLINE = 20.0
_DELTA = 1  # OTLP's number for this temporality


@dataclass(frozen=True)
class Span:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status: int
    attributes: Mapping[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    resource: Mapping[str, Any]
    scope: str
    trace_state: str
    links: list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Point:
    name: str
    unit: str
    attributes: Mapping[str, Any]
    value: float
    count: int
    least: float = 0.0
    most: float = 0.0
    exemplars: int = 0
    is_delta: bool = False


@dataclass(frozen=True)
class Record:
    body: Any
    severity: str
    attributes: Mapping[str, Any]
    trace_id: str
    scope: str


@dataclass
class Received:
    spans: list[Span] = field(default_factory=list[Span])
    points: list[Point] = field(default_factory=list[Point])
    records: list[Record] = field(default_factory=list[Record])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    raw: list[bytes] = field(default_factory=list[bytes])
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, enough: Callable[[Received], Any]) -> Any:
        """Wait until *enough* is true of what has come, and return what it gave."""

        async def wait() -> Any:
            async with self.changed:
                while not (found := enough(self)):
                    await self.changed.wait()
                return found

        return await asyncio.wait_for(wait(), DEADLINE)

    async def span(self, name: str) -> Span:
        """Wait for the one span that is called *name*."""
        found: list[Span] = await self.until(lambda seen: [s for s in seen.spans if s.name == name])
        return found[0]

    def metric(self, name: str) -> list[Point]:
        """The points of the metric *name*, the newest last."""
        return [point for point in self.points if point.name == name]

    async def take(self, signal: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Keep one export."""
        async with self.changed:
            self.raw.append(body)
            self.headers.append({key.lower(): value for key, value in headers.items()})
            getattr(self, f"_take_{signal}")(body)
            self.changed.notify_all()
        return b""

    def _take_traces(self, body: bytes) -> None:
        export = _TRACES.ExportTraceServiceRequest.FromString(body)
        for resource in export.resource_spans:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Span(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.kind,
                            span.status.code,
                            _attributes(span.attributes),
                            [(event.name, _attributes(event.attributes)) for event in span.events],
                            about,
                            scope.scope.name,
                            span.trace_state,
                            [(link.trace_id.hex(), _attributes(link.attributes)) for link in span.links],
                        )
                    )

    def _take_metrics(self, body: bytes) -> None:
        export = _METRICS.ExportMetricsServiceRequest.FromString(body)
        for resource in export.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data: Any = getattr(metric, str(metric.WhichOneof("data")))
                    for point in data.data_points:
                        self.points.append(_point(metric, point, getattr(data, "aggregation_temporality", 0)))

    def _take_logs(self, body: bytes) -> None:
        export = _LOGS.ExportLogsServiceRequest.FromString(body)
        for resource in export.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    self.records.append(
                        Record(
                            _value(record.body),
                            record.severity_text,
                            _attributes(record.attributes),
                            record.trace_id.hex(),
                            scope.scope.name,
                        )
                    )


def _point(metric: Any, point: Any, temporality: int) -> Point:
    attributes = _attributes(point.attributes)
    if hasattr(point, "sum"):
        return Point(
            metric.name,
            metric.unit,
            attributes,
            point.sum,
            point.count,
            point.min,
            point.max,
            len(point.exemplars),
            temporality == _DELTA,
        )
    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
    return Point(metric.name, metric.unit, attributes, value, 1)


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


@asynccontextmanager
async def http_receiver() -> AsyncGenerator[tuple[Received, str], None]:
    """What was received over http/protobuf, and the endpoint."""
    received = Received()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        await received.take(request.match_info["signal"], body, request.headers)
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/{signal}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield received, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def grpc_receiver() -> AsyncGenerator[tuple[Received, str], None]:
    """What was received over gRPC, and the endpoint."""
    received = Received()

    def service(signal: str, name: str) -> Any:
        async def export(request: bytes, context: Any) -> bytes:
            metadata = {key: str(value) for key, value in context.invocation_metadata()}
            return await received.take(signal, request, metadata)

        methods = {"Export": grpc.unary_unary_rpc_method_handler(export)}
        return grpc.method_handlers_generic_handler(f"opentelemetry.proto.collector.{name}", methods)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            service("traces", "trace.v1.TraceService"),
            service("metrics", "metrics.v1.MetricsService"),
            service("logs", "logs.v1.LogsService"),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield received, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)
