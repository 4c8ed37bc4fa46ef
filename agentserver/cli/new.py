"""``agentserver new``: a project from a template."""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

from agentserver._version import __version__
from agentserver.cli.console import note, print_json
from agentserver.cli.outcome import CommandError, Exit
from agentserver.wire import INVOCATIONS_PROTOCOL, INVOCATIONS_WS_PROTOCOL, PROTOCOL_VERSION

__all__ = ["KINDS", "Kind", "new"]

_DISTRIBUTION: Final = "agentserver-invocations"
_TEMPLATES: Final = Path(__file__).parent / "templates"
_NAME: Final = re.compile(r"[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_TAKEN: Final = frozenset({"agentserver", "aiohttp", "pytest", "tests"})

# Where each template goes; {package} is the project's package.
_COMMON: Final[Mapping[str, str]] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "Dockerfile": "Dockerfile",
    "dockerignore": ".dockerignore",
    "gitignore": ".gitignore",
    "agent.yaml": "agent.yaml",
    "agent.manifest.yaml": "agent.manifest.yaml",
    "init.py": "{package}/__init__.py",
    "main.py": "{package}/__main__.py",
}
_OWN: Final[Mapping[str, str]] = {
    "handler.py": "{package}/handler.py",
    "test_handler.py": "tests/test_{package}.py",
}


@dataclass(frozen=True)
class Kind:
    """What sets one template apart from another.

    Args:
        protocol: The protocol that ``agent.yaml`` declares.
        what: What the agent does.
        talk: How to talk to it.
        cpu: Cores of the container; real-time agents need a whole one.
        memory: Memory of the container.
    """

    protocol: str
    what: str
    talk: str
    cpu: str = "0.25"
    memory: str = "0.5Gi"


KINDS: Final[Mapping[str, Kind]] = {
    "basic": Kind(
        INVOCATIONS_PROTOCOL, "An agent that says back what it was told.", "agentserver invoke hello"
    ),
    "streaming": Kind(
        INVOCATIONS_PROTOCOL, "An agent that streams its answer.", "agentserver invoke 'hello there'"
    ),
    "websocket": Kind(
        INVOCATIONS_WS_PROTOCOL, "An agent that talks over a WebSocket.", "agentserver connect", "1", "2Gi"
    ),
    "actions": Kind(
        INVOCATIONS_WS_PROTOCOL,
        "An agent that runs many invocations on one WebSocket.",
        "agentserver connect --actions",
        "1",
        "2Gi",
    ),
}


def new(arguments: argparse.Namespace) -> int:
    """Write the project."""
    directory = Path(arguments.name)
    words = _words(directory.name, KINDS[arguments.kind])
    files = _files(arguments.kind, words)
    _write(directory, files)
    if arguments.json:
        print_json(sorted(files))
        return Exit.OK
    for name in sorted(files):
        print(directory / name)
    note(
        f"Next: cd {directory}, python -m pip install -e '.[dev]', agentserver dev {words['package']}.handler"
    )
    return Exit.OK


def _words(name: str, kind: Kind) -> dict[str, str]:
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} is no name of an agent: give up to 63 letters, digits and hyphens, a letter first"
        )
    package = name.replace("-", "_").lower()
    if package in _TAKEN or package in sys.stdlib_module_names or keyword.iskeyword(package):
        raise CommandError(f"{name!r} is the name of another Python module: choose another name")
    parts = [part for part in name.split("-") if part]
    minor = ".".join([*__version__.split(".")[:1], str(int(__version__.split(".")[1]) + 1)])
    return {
        "name": name,
        "title": " ".join(part.capitalize() for part in parts),
        "package": package,
        "image": name.lower(),  # Docker takes no capital letters
        "handler": "".join(part[0].upper() + part[1:] for part in parts) + "Handler",
        "what": kind.what,
        "talk": kind.talk,
        "protocol": kind.protocol,
        "protocol_version": PROTOCOL_VERSION,
        "cpu": kind.cpu,
        "memory": kind.memory,
        "distribution": _DISTRIBUTION,
        "versions": f">={__version__},<{minor}",
    }


def _files(kind: str, words: Mapping[str, str]) -> dict[str, str]:
    places = {**_COMMON, **{f"{kind}/{template}": place for template, place in _OWN.items()}}
    return {
        place.format(package=words["package"]): Template(
            (_TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")
        ).substitute(words)
        for template, place in places.items()
    }


def _write(directory: Path, files: Mapping[str, str]) -> None:
    try:
        if directory.exists() and any(directory.iterdir()):
            raise CommandError(f"{directory} is there and not empty: choose another name")
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{directory} cannot be written: {error.strerror}", Exit.FAILED) from None
