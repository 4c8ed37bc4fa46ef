"""The providers of the process: made as the environment says, left as they are where the user set them."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, Final, TypeVar
from uuid import uuid4

from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import DEFAULT_ON

from agentserver._telemetry.exporters import (
    AZURE_EXPORTER,
    calm_exporters,
    log_exports,
    metric_exporters,
    span_exporters,
)
from agentserver._telemetry.instruments import MakeHistogram, Recorder
from agentserver._telemetry.log_export import ExportHandler
from agentserver._telemetry.otel_observer import OwnMakers
from agentserver._telemetry.own_batch import OwnBatch
from agentserver._telemetry.own_histogram import JoiningExporter, OwnHistogram
from agentserver._telemetry.own_span import OwnSpans
from agentserver._telemetry.processors import make_processors
from agentserver._telemetry.settings import ExportSettings
from agentserver.environment import FoundryEnvironment
from agentserver.wire import AZURE_MONITOR_VARIABLE

# Says that the user wants histograms of another kind, which are the SDK's to make.
_AGGREGATION: Final = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"

Made = TypeVar("Made")

logger = logging.getLogger("agentserver.telemetry")

_NOT_INSTALLED: Final = (
    f"{AZURE_MONITOR_VARIABLE} is set, but the exporter is not installed;"
    " install agentserver-invocations[azure-monitor], or unset it"
)


class Providers:
    """Sets the process's providers for as long as a host runs.

    Args:
        environment: Says who the agent is and where its telemetry goes.
        configure: Each is called with the tracer provider, the user's or ours.

    Attributes:
        own: How the framework makes its own spans and histograms.
    """

    def __init__(self, environment: FoundryEnvironment, configure: Sequence[Callable[[Any], object]]) -> None:
        self._export = ExportSettings.read(environment.telemetry_variables)
        self._azure = _usable(environment.azure_monitor_connection_string)
        self._resource = _resource_of(environment)
        self._stops: list[Callable[[], object]] = []
        self._handler: logging.Handler | None = None
        self.own = OwnMakers()
        self._set_meter_provider()
        self._set_tracer_provider(configure)
        self._set_logger_provider()
        calm_exporters()

    def _set_tracer_provider(self, configure: Sequence[Callable[[Any], object]]) -> None:
        provider: Any = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            exporters = _made(span_exporters, self._export.traces, self._azure)
            if not exporters and not configure:
                return
            provider = self._make_tracer_provider(exporters)
            trace.set_tracer_provider(provider)
            self._stops.append(provider.shutdown)
        elif hasattr(provider, "force_flush"):
            self._stops.append(provider.force_flush)
        for call in configure:
            call(provider)

    def _make_tracer_provider(self, exporters: Sequence[Any]) -> TracerProvider:
        processors = make_processors()
        provider = TracerProvider(
            resource=self._resource, shutdown_on_exit=False, active_span_processor=processors
        )
        for exporter in exporters:
            processors.add_own(BatchSpanProcessor(exporter))
        if len(exporters) == 1 and provider.sampler is DEFAULT_ON and _takes_own_spans(exporters[0]):
            exporters[0].resource = self._resource.attributes
            batch = OwnBatch(exporters[0], self._export.batch)
            processors.add_own(batch, first=True)
            self.own.spans = partial(OwnSpans, take=batch.take, processors=processors)
        return provider

    def _set_meter_provider(self) -> None:
        provider = metrics.get_meter_provider()
        if isinstance(provider, MeterProvider):
            self._stops.append(provider.force_flush)
            return
        exporters = _made(metric_exporters, self._export.metrics, self._azure)
        if not exporters:
            return
        if not self._azure and not os.environ.get(_AGGREGATION):
            histograms: list[OwnHistogram] = []
            exporters = [JoiningExporter(exporter, histograms) for exporter in exporters]
            self.own.histogram = _collecting(histograms)
        readers = [PeriodicExportingMetricReader(exporter) for exporter in exporters]
        provider = MeterProvider(readers, self._resource, shutdown_on_exit=False)
        metrics.set_meter_provider(provider)
        self._stops.append(provider.shutdown)

    def _set_logger_provider(self) -> None:
        provider = _logs.get_logger_provider()
        if isinstance(provider, LoggerProvider):  # then the user's own handler feeds it
            self._stops.append(provider.force_flush)
            return
        exports = _made(log_exports, self._export.logs, self._azure)
        if not exports:
            return
        provider = LoggerProvider(self._resource, shutdown_on_exit=False)
        for export in exports:
            provider.add_log_record_processor(export)
        _logs.set_logger_provider(provider)
        self._stops.append(provider.shutdown)
        self._handler = ExportHandler(provider)
        logging.getLogger().addHandler(self._handler)

    async def stop(self, seconds: float) -> None:
        """Flush all providers side by side and shut down those that are ours, within *seconds*."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
        if not await _finished(self._stops, seconds):
            logger.warning("telemetry was not flushed within %g s; what is left is lost", seconds)


def _collecting(histograms: list[OwnHistogram]) -> MakeHistogram:
    def make(name: str, unit: str, description: str, bounds: Sequence[float]) -> Recorder:
        histograms.append(OwnHistogram(name, unit, description, bounds))
        return histograms[-1]

    return make


def _takes_own_spans(exporter: Any) -> bool:
    # Limits of the user's are the SDK's to apply.
    limited = any(name.startswith("OTEL_") and name.endswith("_LIMIT") for name in os.environ)
    return not limited and hasattr(exporter, "takes_own_spans") and bool(exporter.takes_own_spans())


def _usable(connection_string: str) -> str:
    if not connection_string:
        return ""
    try:
        found = find_spec(AZURE_EXPORTER)
    except ModuleNotFoundError:
        found = None
    if found is None:
        logger.warning(_NOT_INSTALLED)
        return ""
    return connection_string


def _resource_of(environment: FoundryEnvironment) -> Resource:
    own = {
        "service.name": environment.agent_name or "agentserver",
        "service.version": environment.agent_version,
        "service.instance.id": str(uuid4()),
    }
    said: Mapping[str, Any] = OTELResourceDetector().detect().attributes
    return Resource.create({key: value for key, value in own.items() if value and key not in said})


def _made(make: Callable[..., list[Made]], *arguments: Any) -> list[Made]:
    try:
        return make(*arguments)
    # An exporter that cannot be made (a package that is absent, a bad connection string, an unreadable
    # certificate) costs its signal and nothing else (contract, section 7).
    except Exception as error:  # noqa: BLE001
        logger.warning("telemetry is not exported: %s: %s", type(error).__name__, error)
        return []


async def _finished(calls: Sequence[Callable[[], object]], seconds: float) -> bool:
    """Run *calls* in threads that do not keep the process alive; tell whether all ended in time."""
    if not calls:
        return True
    loop = asyncio.get_running_loop()
    ended = [loop.create_future() for _ in calls]
    for call, future in zip(calls, ended, strict=True):
        threading.Thread(target=_run, args=(call, loop, future), daemon=True).start()
    _, late = await asyncio.wait(ended, timeout=seconds)
    return not late


def _run(call: Callable[[], object], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    try:
        call()
    # A processor or exporter of anybody's; the end of the process does not depend on it.
    except Exception:
        logger.exception("telemetry could not be flushed")
    if not loop.is_closed():
        loop.call_soon_threadsafe(ended.cancel)
