"""What the hosting platform says to the container: environment variables, read once (contract, section 8)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from agentserver import wire
from agentserver.errors import ConfigurationError

DEFAULT_PORT: Final = 8088
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS: Final = ("text", "json")


@dataclass(frozen=True, kw_only=True, repr=False)
class FoundryEnvironment:
    """The container's environment, validated and immutable; ``FoundryEnvironment.read()`` makes it.

    Args:
        port: TCP port to listen on, 1 to 65535 (``PORT``).
        agent_name: ``FOUNDRY_AGENT_NAME``; empty on a developer's machine.
        agent_version: ``FOUNDRY_AGENT_VERSION``.
        agent_id: ``FOUNDRY_AGENT_ID``, else ``NAME:VERSION`` of the two above, or the name alone.
        project_endpoint: ``FOUNDRY_PROJECT_ENDPOINT``, a URL.
        project_arm_id: ``FOUNDRY_PROJECT_ARM_ID``.
        session_id: ``FOUNDRY_AGENT_SESSION_ID``: the session this container was started for.
        is_hosted: Whether ``FOUNDRY_HOSTING_ENVIRONMENT`` is set.
        azure_monitor_connection_string: ``APPLICATIONINSIGHTS_CONNECTION_STRING``; a secret.
        otlp_endpoint: ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        telemetry_variables: All ``OTEL_*`` variables, for telemetry to read; they may have secrets in them.
        sse_keepalive_interval: Seconds of silence before a comment is sent on an event stream; 0 is off
            (``SSE_KEEPALIVE_INTERVAL``).
        ws_keepalive_interval: Seconds between WebSocket Ping frames; 0 is off (``WS_KEEPALIVE_INTERVAL``).
        shutdown_timeout: Seconds that requests in flight may take to finish at shutdown
            (``AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS``).
        log_level: One of ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` (``AGENTSERVER_LOG_LEVEL``).
        log_format: ``text`` or ``json`` (``AGENTSERVER_LOG_FORMAT``).
        store: Where durable runs are kept (``AGENTSERVER_STORE``): a file, ``postgresql://…``, or
            ``memory``; empty is a file in the home folder. It may have secrets in it.
    """

    port: int = DEFAULT_PORT
    agent_name: str = ""
    agent_version: str = ""
    agent_id: str = ""
    project_endpoint: str = ""
    project_arm_id: str = ""
    session_id: str = ""
    is_hosted: bool = False
    azure_monitor_connection_string: str = ""
    otlp_endpoint: str = ""
    telemetry_variables: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    sse_keepalive_interval: int = 15
    ws_keepalive_interval: float = 0.0
    shutdown_timeout: float = 30.0
    log_level: str = "INFO"
    log_format: str = "text"
    store: str = ""

    @classmethod
    def read(cls, variables: Mapping[str, str] | None = None) -> FoundryEnvironment:
        """Read the environment.

        Args:
            variables: Where to read from; the process's own environment by default.

        Returns:
            What was found, checked.

        Raises:
            ConfigurationError: If a variable has a value that cannot be used. It names both.
        """
        variables = os.environ if variables is None else variables
        source = _Variables(variables)
        name, version = source.text(wire.AGENT_NAME_VARIABLE), source.text(wire.AGENT_VERSION_VARIABLE)
        return cls(
            port=source.port(),
            agent_name=name,
            agent_version=version,
            agent_id=source.text(wire.AGENT_ID_VARIABLE)
            or (f"{name}:{version}" if name and version else name),
            project_endpoint=source.text(wire.PROJECT_ENDPOINT_VARIABLE),
            project_arm_id=source.text(wire.PROJECT_ARM_ID_VARIABLE),
            session_id=source.session_id(),
            is_hosted=bool(source.text(wire.HOSTING_VARIABLE)),
            azure_monitor_connection_string=source.text(wire.AZURE_MONITOR_VARIABLE),
            otlp_endpoint=source.text(wire.OTLP_ENDPOINT_VARIABLE),
            telemetry_variables=source.starting_with("OTEL_"),
            sse_keepalive_interval=int(source.seconds(wire.SSE_KEEPALIVE_VARIABLE, 15, whole=True)),
            ws_keepalive_interval=source.seconds(wire.WS_KEEPALIVE_VARIABLE, 0.0),
            shutdown_timeout=source.seconds(wire.SHUTDOWN_TIMEOUT_VARIABLE, 30.0),
            log_level=source.choice(wire.LOG_LEVEL_VARIABLE, LOG_LEVELS, "INFO"),
            log_format=source.choice(wire.LOG_FORMAT_VARIABLE, LOG_FORMATS, "text"),
            store=source.text(wire.STORE_VARIABLE),
        )

    def describe(self) -> str:
        """What was found, in one line: endpoints as scheme and host only, secrets only as present."""
        parts = {
            "agent": self.agent_id or "(unnamed)",
            "hosted": "yes" if self.is_hosted else "no",
            "session": "present" if self.session_id else "absent",
            "project": _masked(self.project_endpoint),
            "otlp": _masked(self.otlp_endpoint),
            "azure_monitor": "present" if self.azure_monitor_connection_string else "absent",
            "sse_keepalive": f"{self.sse_keepalive_interval}s",
            "ws_keepalive": f"{self.ws_keepalive_interval:g}s",
            "shutdown_timeout": f"{self.shutdown_timeout:g}s",
        }
        return " ".join(f"{key}={value}" for key, value in parts.items())

    def __repr__(self) -> str:
        return f"<FoundryEnvironment port={self.port} {self.describe()}>"


class _Variables:
    """Typed access to a mapping of strings; an error names variable, value and what is expected."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        return self._values.get(name, "").strip()

    def starting_with(self, prefix: str) -> Mapping[str, str]:
        return MappingProxyType(
            {name: text for name, text in self._values.items() if name.startswith(prefix)}
        )

    def port(self) -> int:
        value = self.text(wire.PORT_VARIABLE)
        if not value:
            return DEFAULT_PORT
        if not (value.isascii() and value.isdigit() and len(value) <= 5 and 1 <= int(value) <= 65535):
            raise _bad(wire.PORT_VARIABLE, value, "a whole number from 1 to 65535")
        return int(value)

    def session_id(self) -> str:
        value = self.text(wire.SESSION_ID_VARIABLE)
        if value and not wire.is_valid_id(value):
            raise _bad(wire.SESSION_ID_VARIABLE, value, "1 to 256 letters, digits or any of . _ : -")
        return value

    def seconds(self, name: str, default: float, *, whole: bool = False) -> float:
        value = self.text(name)
        if not value:
            return default
        expected = "a whole number of seconds, 0 or more" if whole else "a number of seconds, 0 or more"
        try:
            seconds = int(value) if whole else float(value)
        except ValueError:
            raise _bad(name, value, expected) from None
        if not math.isfinite(seconds) or seconds < 0:
            raise _bad(name, value, expected)
        return seconds

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.text(name)
        if not value:
            return default
        for word in allowed:
            if value.lower() == word.lower():
                return word
        raise _bad(name, value, "one of " + ", ".join(allowed))


def _bad(name: str, value: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {value[:100]!r}, but it must be {expected}")


def _masked(url: str) -> str:
    if not url:
        return "absent"
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "present"
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.scheme and parts.hostname else "present"
