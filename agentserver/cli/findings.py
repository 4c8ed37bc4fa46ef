"""What ``agentserver doctor`` sees without starting anything: Python, packages, variables, port, files."""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from agentserver._telemetry.settings import ExportSettings
from agentserver._version import __version__
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError

__all__ = ["Finding", "Status", "declared_protocols", "environment", "files", "packages", "port", "python"]

_INSTALL: Final = "pip install 'agentserver-invocations[{}]'"

# The package that stands for each extra, and what the extra is for.
_EXTRAS: Final[Mapping[str, tuple[str, str]]] = {
    "cli": ("watchfiles", "'agentserver dev' and completion"),
    "telemetry": ("opentelemetry-sdk", "traces, metrics and exported logs"),
    "hosted": ("azure-identity", "calls to hosted agents without a token of your own"),
}

# A requirement of the other project's name, as each kind of file would have it.
_WRONG_NAME: Final[Mapping[str, str]] = {
    "requirements*.txt": r"(?m)^\s*agentserver\s*(\[|[=<>~!;#]|$)",
    "pyproject.toml": r"""["']agentserver\s*[\[=<>~!;]""",
    "Dockerfile": r"""pip3? install[^\n]*[\s"']agentserver(?![\w./-])""",
}


class Status(str, Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        check: What was looked at.
        status: How it is.
        words: What was found.
        advice: What to do, unless all is well.
    """

    check: str
    status: Status
    words: str
    advice: str = ""


def python() -> Finding:
    """Which Python runs."""
    return Finding("python", Status.OK, f"{platform.python_version()} on {platform.platform(terse=True)}")


def packages() -> Iterator[Finding]:
    """Which packages are installed, and whether the wrong one is."""
    yield Finding("agentserver-invocations", Status.OK, __version__)
    yield Finding("aiohttp", Status.OK, _version("aiohttp") or "without metadata")
    yield _event_loop()
    for extra, (package, what) in _EXTRAS.items():
        yield _extra(extra, package, what)
    other = _version("agentserver")
    if other:
        yield Finding(
            "packages",
            Status.PROBLEM,
            f"agentserver {other} is installed: another project, which overwrites this one",
            "pip uninstall agentserver, then pip install --force-reinstall agentserver-invocations",
        )


def _event_loop() -> Finding:
    found = _version("uvloop")
    if found:
        return Finding("uvloop", Status.OK, found)
    if sys.platform == "win32" or platform.python_implementation() != "CPython":
        return Finding("uvloop", Status.OK, "not for this platform; asyncio's own loop is used")
    return Finding("uvloop", Status.WARNING, "not installed; the server is slower", "pip install uvloop")


def _extra(extra: str, package: str, what: str) -> Finding:
    found = _version(package)
    if found:
        return Finding(f"extra {extra}", Status.OK, f"{package} {found}")
    wanted = extra == "telemetry" and any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ)
    status = Status.PROBLEM if wanted else Status.OK
    words = "not installed, but the OTEL_ variables ask for it" if wanted else f"not installed; for {what}"
    return Finding(f"extra {extra}", status, words, _INSTALL.format(extra))


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def environment() -> Finding:
    """Whether the server could start with the variables as they are."""
    try:
        found = FoundryEnvironment.read()
        ExportSettings.read(found.telemetry_variables)
    except ConfigurationError as error:
        return Finding("environment", Status.PROBLEM, str(error), "change or unset that variable")
    return Finding("environment", Status.OK, found.describe())


def port() -> Finding:
    """Whether the port is free."""
    try:
        number = FoundryEnvironment.read().port
    except ConfigurationError:
        return Finding("port", Status.WARNING, "not looked at", "mend the environment first")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", number))
        except OSError as error:
            advice = "stop the process that listens on it, or set PORT"
            return Finding("port", Status.PROBLEM, f"{number}: {error.strerror}", advice)
    return Finding("port", Status.OK, f"{number} is free")


def files(directory: Path) -> Iterator[Finding]:
    """Whether the project's files ask for this distribution, and not for the other one."""
    for pattern, wrong in _WRONG_NAME.items():
        for path in sorted(directory.glob(pattern)):
            if re.search(wrong, path.read_text(encoding="utf-8", errors="replace")):
                yield Finding(
                    path.name,
                    Status.PROBLEM,
                    "asks for agentserver, which is another project",
                    "write agentserver-invocations",
                )


def declared_protocols(directory: Path) -> list[str] | None:
    """The protocols that ``agent.yaml`` declares; None without such a file."""
    path = directory / "agent.yaml"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    return re.findall(r"""(?m)^[^#\n]*\bprotocol:\s*["']?(\w+)""", text)
