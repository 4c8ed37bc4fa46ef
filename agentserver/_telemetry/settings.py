"""Where telemetry is exported to, as the ``OTEL_*`` variables say. Read without importing OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from agentserver.errors import ConfigurationError

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_GRPC_PORT: Final = 4317  # registered for OTLP over gRPC
_RATIO_SAMPLERS: Final = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS: Final = (
    "always_on",
    "always_off",
    "parentbased_always_on",
    "parentbased_always_off",
    *_RATIO_SAMPLERS,
)


@dataclass(frozen=True)
class SignalExport:
    """Where one signal goes.

    Args:
        endpoint: The URL, with its path for ``http/protobuf``.
        protocol: ``grpc`` or ``http/protobuf``.
    """

    endpoint: str
    protocol: str


@dataclass(frozen=True)
class BatchLimits:
    """How spans are sent.

    Args:
        delay: Seconds that they wait for others.
        together: How many go together.
        queue: How many wait at most; others are dropped.
    """

    delay: float = 5.0
    together: int = 2048
    queue: int = 8192


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What the ``OTEL_*`` variables ask for; a signal that is ``None`` is not exported.

    Args:
        traces: Where spans go.
        metrics: Where metrics go.
        logs: Where log records go.
        batch: How spans are sent, as ``OTEL_BSP_*`` says.
        disabled: Whether ``OTEL_SDK_DISABLED`` turns all of it off; propagation stays.
    """

    traces: SignalExport | None = None
    metrics: SignalExport | None = None
    logs: SignalExport | None = None
    batch: BatchLimits = field(default_factory=BatchLimits)
    disabled: bool = False

    def __bool__(self) -> bool:
        return not self.disabled and any((self.traces, self.metrics, self.logs))

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> ExportSettings:
        """Read the variables.

        Raises:
            ConfigurationError: If one has a value that cannot be used. It names both.
        """
        source = _Variables(variables)
        if source.text("OTEL_SDK_DISABLED").lower() == "true":
            return cls(disabled=True)
        settings = cls(
            traces=source.signal("traces"),
            metrics=source.signal("metrics"),
            logs=source.signal("logs"),
            batch=source.batch(),
        )
        source.check_sampler()
        return settings


@dataclass(frozen=True, eq=False, repr=False)
class _Variables:
    values: Mapping[str, str]

    def text(self, name: str) -> str:
        return self.values.get(name, "").strip()

    def signal(self, name: str) -> SignalExport | None:
        upper = name.upper()
        if self._choice(f"OTEL_{upper}_EXPORTER", ("otlp", "none"), "otlp") == "none":
            return None
        own = f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT"
        variable = own if self.text(own) else _ENDPOINT
        endpoint = self.text(variable)
        if not endpoint:
            return None
        port = _port_of(variable, endpoint)
        default = self._choice(_PROTOCOL, (GRPC, HTTP), GRPC if port == _GRPC_PORT else HTTP)
        protocol = self._choice(f"OTEL_EXPORTER_OTLP_{upper}_PROTOCOL", (GRPC, HTTP), default)
        if variable == _ENDPOINT and protocol == HTTP:
            endpoint = f"{endpoint.rstrip('/')}/v1/{name}"
        return SignalExport(endpoint, protocol)

    def batch(self) -> BatchLimits:
        """What ``OTEL_BSP_*`` says; the SDK would only warn of what cannot be."""
        limits = BatchLimits()
        delay = self._number("OTEL_BSP_SCHEDULE_DELAY") / 1000 or limits.delay
        together = self._number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")
        queue = self._number("OTEL_BSP_MAX_QUEUE_SIZE")
        if together > queue > 0:
            raise ConfigurationError(
                f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE is {together}, but the queue,"
                f" OTEL_BSP_MAX_QUEUE_SIZE, holds {queue}: make it as large"
            )
        queue = queue or max(limits.queue, together)
        return BatchLimits(delay, together or min(limits.together, queue), queue)

    def _number(self, name: str) -> int:
        text = self.text(name)
        if not text:
            return 0
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
            raise ConfigurationError(f"{name} is {text[:100]!r}, but it must be a whole number above 0")
        return int(text)

    def check_sampler(self) -> None:
        """Refuse what the SDK would only warn of, and then sample everything."""
        sampler = self._choice("OTEL_TRACES_SAMPLER", _SAMPLERS, "parentbased_always_on")
        name = "OTEL_TRACES_SAMPLER_ARG"
        argument = self.text(name)
        if sampler not in _RATIO_SAMPLERS or not argument:
            return
        try:
            ratio = float(argument)
        except ValueError:
            ratio = -1.0
        if not 0 <= ratio <= 1:
            raise ConfigurationError(f"{name} is {argument[:100]!r}, but it must be a number from 0 to 1")

    def _choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(name).lower()
        if not value:
            return default
        if value not in allowed:
            expected = ", ".join(allowed)
            raise ConfigurationError(f"{name} is {value[:100]!r}, but it must be one of {expected}")
        return value


def _port_of(variable: str, endpoint: str) -> int | None:
    try:
        parts = urlsplit(endpoint)
        if parts.scheme in {"http", "https"} and parts.hostname:
            return parts.port
    except ValueError:
        pass
    raise ConfigurationError(
        f"{variable} is {endpoint[:100]!r}, but it must be a URL such as http://localhost:4318"
    )
