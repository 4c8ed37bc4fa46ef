"""The telemetry of one host, from its start to its end; OpenTelemetry is imported if there is use for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentserver._telemetry.observer import Observed, Observer
from agentserver.environment import FoundryEnvironment

if TYPE_CHECKING:
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
    """Sets telemetry up, gives *server* its observer, and flushes at the end.

    Args:
        environment: Says where to export to.
        options: What the builder was told.
        server: What is observed.

    Raises:
        ConfigurationError: If an ``OTEL_*`` variable has a value that cannot be used.
    """

    def __init__(self, environment: FoundryEnvironment, options: TracingOptions, server: Observed) -> None:
        self._environment = environment
        self._options = options
        self._server = server
        self._providers: Providers | None = None
        self._export = _export_settings(environment)
        server.observe = self.observe

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
        self._server.observer = self.observe()

    def observe(self) -> Observer:
        """Make an observer of whatever providers there are: ours, the user's, or none yet.

        With none, the context and baggage of a request still reach whatever its handler starts.
        """
        from agentserver._telemetry.opentelemetry_observer import make_observer

        return make_observer(self._environment, self._server.paths(), spans=self._options.framework_spans)

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
