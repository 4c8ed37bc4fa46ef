"""The providers of the process: made as the environment says, left as they are where the user set them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final, TypeVar
from uuid import uuid4

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from agentserver._telemetry.exporters import (
    AZURE_EXPORTER,
    limit_exporter_logging,
    log_processors,
    metric_exporters,
    span_exporters,
)
from agentserver._telemetry.log_export import ExportHandler
from agentserver._telemetry.opentelemetry_internals import (
    LoggerProvider,
    LogRecordProcessor,
    get_logger_provider,
    set_logger_provider,
)
from agentserver._telemetry.settings import ExportSettings
from agentserver._telemetry.span_processors import make_processors
from agentserver.environment import FoundryEnvironment
from agentserver.wire import AZURE_MONITOR_VARIABLE

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
    """

    def __init__(self, environment: FoundryEnvironment, configure: Sequence[Callable[[Any], object]]) -> None:
        self._export = ExportSettings.read(environment.telemetry_variables)
        self._azure = _usable(environment.azure_monitor_connection_string)
        self._resource = resource_of(environment)
        self._stops: list[Callable[[], object]] = []
        self._handler: logging.Handler | None = None
        self._set_meter_provider()
        self._set_tracer_provider(configure)
        self._set_logger_provider()
        limit_exporter_logging()

    def _set_tracer_provider(self, configure: Sequence[Callable[[Any], object]]) -> None:
        provider: Any = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            exporters = _made(span_exporters, self._export.traces, self._azure) or []
            if not exporters and not configure:
                return
            provider = _made(make_tracer_provider, self._resource, exporters)
            if provider is None:
                return
            trace.set_tracer_provider(provider)
            self._stops.append(provider.shutdown)
        elif hasattr(provider, "force_flush"):
            self._stops.append(provider.force_flush)
        for call in configure:
            call(provider)

    def _set_meter_provider(self) -> None:
        provider = metrics.get_meter_provider()
        if isinstance(provider, MeterProvider):
            self._stops.append(provider.force_flush)
            return
        exporters = _made(metric_exporters, self._export.metrics, self._azure)
        made = _made(self._make_meter_provider, exporters) if exporters else None
        if made is not None:
            metrics.set_meter_provider(made)
            self._stops.append(made.shutdown)

    def _make_meter_provider(self, exporters: Sequence[MetricExporter]) -> MeterProvider:
        readers = [PeriodicExportingMetricReader(exporter) for exporter in exporters]
        return MeterProvider(readers, self._resource, shutdown_on_exit=False)

    def _set_logger_provider(self) -> None:
        provider = get_logger_provider()
        if isinstance(provider, LoggerProvider):  # then the user's own handler feeds it
            self._stops.append(provider.force_flush)
            return
        processors = _made(log_processors, self._export.logs, self._azure)
        made = _made(self._make_logger_provider, processors) if processors else None
        if made is not None:
            set_logger_provider(made)
            self._stops.append(made.shutdown)
            self._handler = ExportHandler(made)
            logging.getLogger().addHandler(self._handler)

    def _make_logger_provider(self, processors: Sequence[LogRecordProcessor]) -> LoggerProvider:
        provider = LoggerProvider(self._resource, shutdown_on_exit=False)
        for processor in processors:
            provider.add_log_record_processor(processor)
        return provider

    async def stop(self, seconds: float) -> None:
        """Flush all providers side by side and shut down those that are ours, within *seconds*."""
        if self._handler is not None:
            logging.getLogger().removeHandler(self._handler)
        if not await _finished(self._stops, seconds):
            logger.warning("telemetry was not flushed within %g s; what is left is lost", seconds)


def make_tracer_provider(resource: Resource, exporters: Sequence[Any] = ()) -> TracerProvider:
    """Make a provider of *resource* that exports to *exporters*."""
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False, active_span_processor=make_processors()
    )
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


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


def resource_of(environment: FoundryEnvironment) -> Resource:
    """What spans, metrics and records say of the process that *environment* describes."""
    own = {
        "service.name": environment.agent_name or "agentserver",
        "service.version": environment.agent_version,
        "service.instance.id": str(uuid4()),
    }
    said: Mapping[str, Any] = OTELResourceDetector().detect().attributes
    return Resource.create({key: value for key, value in own.items() if value and key not in said})


def _made(make: Callable[..., Made], *arguments: Any) -> Made | None:
    try:
        return make(*arguments)
    # What cannot be made (a package that is absent, a bad connection string, an unreadable certificate, a
    # variable that the SDK refuses) costs its signal and nothing else (contract, section 7).
    except Exception as error:  # noqa: BLE001
        logger.warning("telemetry is not exported: %s: %s", type(error).__name__, error)
        return None


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
