"""The telemetry of one host, from its start to its end; OpenTelemetry is imported if there is use for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentserver._http.pipeline import Pipeline
from agentserver._telemetry.observer import Observer
from agentserver.environment import FoundryEnvironment

if TYPE_CHECKING:
    from agentserver._telemetry.otel_observer import OwnMakers
    from agentserver._telemetry.providers import Providers
    from agentserver._telemetry.settings import ExportSettings

FLUSH_SECONDS: Final = 5.0  # at shutdown; a collector that does not answer must not keep the process

logger = logging.getLogger("agentserver.telemetry")


@dataclass(eq=False, repr=False)
class TracingOptions:
    """What ``builder.configure_tracing`` was told.

    Args:
        configure: Called with the tracer provider at start.
        framework_spans: Whether the framework makes spans of its own.
    """

    configure: list[Callable[[Any], object]] = field(default_factory=list[Callable[[Any], object]])
    framework_spans: bool = True


class Telemetry:
    """Sets telemetry up, gives *pipeline* its observer, and flushes at the end.

    Args:
        environment: Says where to export to.
        options: What the builder was told.
        pipeline: What is observed.

    Raises:
        ConfigurationError: If an ``OTEL_*`` variable has a value that cannot be used.
    """

    def __init__(self, environment: FoundryEnvironment, options: TracingOptions, pipeline: Pipeline) -> None:
        self._environment = environment
        self._options = options
        self._pipeline = pipeline
        self._providers: Providers | None = None
        self._export = _export_settings(environment)
        pipeline.observe = self.observe

    def start(self) -> None:
        """Set up what is configured; nothing if nothing is, or if OpenTelemetry is not installed."""
        environment = self._environment
        wanted = self._export or environment.azure_monitor_connection_string or self._options.configure
        disabled = self._export is not None and self._export.disabled
        if disabled or not wanted:
            return
        try:
            from agentserver._telemetry.providers import Providers
        except ImportError as error:
            logger.warning(
                "telemetry is configured, but there is no %s; install agentserver-invocations[telemetry]",
                error.name or "OpenTelemetry",
            )
            return
        self._providers = Providers(environment, self._options.configure)
        self._pipeline.observer = self._make_observer(self._providers.own)

    def observe(self) -> Observer:
        """Make an observer of whatever providers there are: ours, the user's, or none yet.

        With none, the context and baggage of a request still reach whatever its handler starts.
        """
        return self._make_observer(None)

    def _make_observer(self, own: OwnMakers | None) -> Observer:
        from agentserver._telemetry.otel_observer import make_observer

        routes = {route.operation: route.path for route in self._pipeline.routes.routes}
        return make_observer(self._environment, routes, spans=self._options.framework_spans, own=own)

    async def stop(self) -> None:
        """Flush everything, for `FLUSH_SECONDS` at most."""
        if self._providers is not None:
            await self._providers.stop(FLUSH_SECONDS)
            self._providers = None


def _export_settings(environment: FoundryEnvironment) -> ExportSettings | None:
    if not environment.telemetry_variables:
        return None
    from agentserver._telemetry.settings import ExportSettings

    return ExportSettings.read(environment.telemetry_variables)
