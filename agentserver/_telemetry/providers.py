"""The providers of the process: made as the environment says, left as they are where the user set them.

OpenTelemetry's global providers can be set once, and whoever got a tracer keeps it. So they belong to the
process, not to the host that happened to be first: a host flushes them when it ends, and hosts beside it and
after it export through the same ones. When the process ends, spans and records that came after its last host
are exported, by those that hosts have set. Metrics are not: that would send once more all that was flushed.
"""

from __future__ import annotations

import asyncio
import atexit
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


_setting: Final = threading.Lock()
_shutdowns: Final[list[Callable[[], object]]] = []  # of providers that hosts of this process have set
_export_handler: ExportHandler | None = None  # of the logger provider that one of them has set


class Providers:
    """What one host does with the process's providers: it sets those that are missing, and flushes all.

    Args:
        environment: Says who the agent is and where its telemetry goes.
        configure: Each is called with the tracer provider, the user's or ours.
    """

    def __init__(self, environment: FoundryEnvironment, configure: Sequence[Callable[[Any], object]]) -> None:
        self._export = ExportSettings.read(environment.telemetry_variables)
        self._azure = _usable(environment.azure_monitor_connection_string)
        self._resource = resource_of(environment)
        self._flushes: list[Callable[[], object]] = []
        with _setting:
            self._set_meter_provider()
            is_traced = self._set_tracer_provider(is_configured=bool(configure))
            self._set_logger_provider()
        for call in configure if is_traced else ():
            call(trace.get_tracer_provider())
        limit_exporter_logging()

    def _set_tracer_provider(self, *, is_configured: bool) -> bool:
        provider: Any = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):
            exporters = _made(span_exporters, self._export.traces, self._azure) or []
            if not exporters and not is_configured:
                return False
            provider = _made(make_tracer_provider, self._resource, exporters)
            if provider is None:
                return False
            trace.set_tracer_provider(provider)
            _shut_down_at_exit(provider.shutdown)
        if hasattr(provider, "force_flush"):
            self._flushes.append(provider.force_flush)
        return True

    def _set_meter_provider(self) -> None:
        provider: Any = metrics.get_meter_provider()
        if not isinstance(provider, MeterProvider):
            exporters = _made(metric_exporters, self._export.metrics, self._azure)
            provider = _made(self._make_meter_provider, exporters) if exporters else None
            if provider is None:
                return
            metrics.set_meter_provider(provider)
        self._flushes.append(provider.force_flush)

    def _make_meter_provider(self, exporters: Sequence[MetricExporter]) -> MeterProvider:
        readers = [PeriodicExportingMetricReader(exporter) for exporter in exporters]
        return MeterProvider(readers, self._resource, shutdown_on_exit=False)

    def _set_logger_provider(self) -> None:
        global _export_handler  # noqa: PLW0603 - the process has one logger provider, and one root logger
        provider: Any = get_logger_provider()
        if not isinstance(provider, LoggerProvider):  # the user's own is fed by a handler of the user's
            processors = _made(log_processors, self._export.logs, self._azure)
            provider = _made(self._make_logger_provider, processors) if processors else None
            if provider is None:
                return
            set_logger_provider(provider)
            _shut_down_at_exit(provider.shutdown)
            _export_handler = ExportHandler(provider)
        self._flushes.append(provider.force_flush)
        if _export_handler is not None:
            _export_handler.begin()

    def _make_logger_provider(self, processors: Sequence[LogRecordProcessor]) -> LoggerProvider:
        provider = LoggerProvider(self._resource, shutdown_on_exit=False)
        for processor in processors:
            provider.add_log_record_processor(processor)
        return provider

    async def stop(self, seconds: float) -> None:
        """Flush all providers side by side, within *seconds*."""
        if _export_handler is not None:
            _export_handler.end()
        if not await _finished(self._flushes, seconds):
            logger.warning("telemetry was not flushed within %g s; what is left is lost", seconds)
            atexit.unregister(_shut_down)  # which would wait for the same collector once more


def _shut_down_at_exit(shutdown: Callable[[], object]) -> None:
    if not _shutdowns:
        atexit.register(_shut_down)
    _shutdowns.append(shutdown)


def _shut_down() -> None:
    """Export what came after the last host, and end."""
    for shutdown in _shutdowns:
        # A processor or exporter of anybody's: it must not keep the others from ending.
        try:
            shutdown()
        except Exception:
            logger.exception("telemetry could not be shut down")


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
