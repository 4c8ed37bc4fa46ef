"""Where telemetry is exported to, as the ``OTEL_*`` variables say. Read without importing OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

# The least that each of these may be.
_NUMBERS: Final = {
    **dict.fromkeys(
        (
            f"{kind}_{size}"
            for kind in ("OTEL_BSP", "OTEL_BLRP")
            for size in ("SCHEDULE_DELAY", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE", "EXPORT_TIMEOUT")
        ),
        1,
    ),
    "OTEL_METRIC_EXPORT_INTERVAL": 1,
    "OTEL_METRIC_EXPORT_TIMEOUT": 1,
    "OTEL_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": 0,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": 0,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": 0,
    "OTEL_SPAN_LINK_COUNT_LIMIT": 0,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": 0,
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": 0,
}
_MOST: Final = 1 << 31
_BATCH_SIZE: Final = 512  # the SDK's defaults
_QUEUE_SIZE: Final = 2048
_SIGNALS: Final = ("", "_TRACES", "_METRICS", "_LOGS")
_COMPRESSIONS: Final = ("none", "gzip", "deflate")
_CHOICES: Final = {
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        "explicit_bucket_histogram",
        "base2_exponential_bucket_histogram",
    ),
    "OTEL_METRICS_EXEMPLAR_FILTER": ("always_on", "always_off", "trace_based"),
}


@dataclass(frozen=True)
class SignalExport:
    """Where one signal goes.

    Args:
        endpoint: The URL, with its path for ``http/protobuf``.
        protocol: ``grpc`` or ``http/protobuf``.
    """

    endpoint: str
    protocol: str


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What the ``OTEL_*`` variables ask for; a signal that is ``None`` is not exported.

    Args:
        traces: Where spans go.
        metrics: Where metrics go.
        logs: Where log records go.
        disabled: Whether ``OTEL_SDK_DISABLED`` turns all of it off; propagation stays.
    """

    traces: SignalExport | None = None
    metrics: SignalExport | None = None
    logs: SignalExport | None = None
    disabled: bool = False

    def __bool__(self) -> bool:
        return not self.disabled and any((self.traces, self.metrics, self.logs))

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> ExportSettings:
        """Read the variables.

        Raises:
            ConfigurationError: If one has a value that cannot be used. It names both.
        """
        source = _OtelVariables(variables)
        if source.text("OTEL_SDK_DISABLED").lower() == "true":
            return cls(disabled=True)
        settings = cls(
            traces=source.signal("traces"),
            metrics=source.signal("metrics"),
            logs=source.signal("logs"),
        )
        source.check_sampler()
        source.check_numbers()
        source.check_choices()
        return settings


@dataclass(frozen=True, eq=False, repr=False)
class _OtelVariables:
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

    def check_numbers(self) -> None:
        """Refuse sizes, limits and times that the SDK would warn of, or raise for."""
        for name, least in _NUMBERS.items():
            self._check_number(name, least)
        for signal in _SIGNALS:
            self._check_number(f"OTEL_EXPORTER_OTLP{signal}_TIMEOUT", 0, whole=False)
        for kind in ("OTEL_BSP", "OTEL_BLRP"):
            batch = int(self.text(f"{kind}_MAX_EXPORT_BATCH_SIZE") or _BATCH_SIZE)
            queue = int(self.text(f"{kind}_MAX_QUEUE_SIZE") or _QUEUE_SIZE)
            if batch > queue:
                raise ConfigurationError(
                    f"{kind}_MAX_QUEUE_SIZE is {queue}, but a batch, {kind}_MAX_EXPORT_BATCH_SIZE,"
                    f" has {batch}: make the queue as large, or the batch smaller"
                )

    def _check_number(self, name: str, least: int, *, whole: bool = True) -> None:
        text = self.text(name)
        if not text:
            return
        try:
            number = int(text) if whole else float(text)
        except ValueError:
            number = -1
        if not (text.isascii() and least <= number < _MOST):
            kind = "a whole number" if whole else "a number"
            raise ConfigurationError(f"{name} is {text[:100]!r}, but it must be {kind} from {least} up")

    def check_choices(self) -> None:
        """Refuse words that the exporters would refuse too, without saying where they stand."""
        for signal in _SIGNALS:
            self._choice(f"OTEL_EXPORTER_OTLP{signal}_COMPRESSION", _COMPRESSIONS, "none")
        for name, allowed in _CHOICES.items():
            self._choice(name, allowed, "")

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
