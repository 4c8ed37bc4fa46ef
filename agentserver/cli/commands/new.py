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

from agentserver import __version__
from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.files import read_file
from agentserver.cli.terminal.output import note, print_json
from agentserver.wire import INVOCATIONS_PROTOCOL, INVOCATIONS_WS_PROTOCOL, PROTOCOL_VERSION

__all__ = ["FRAMEWORKS", "KINDS", "VOICE", "Kind", "new"]

_DISTRIBUTION: Final = "agentserver-invocations"
_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_NAME: Final = re.compile(r"[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_WHEEL: Final = re.compile(r"agentserver_invocations-\d+\.\d+[^-]*-.*\.whl")
_TAKEN: Final = frozenset(
    {
        *("agentserver", "aiohttp", "pytest", "tests"),
        *("agent_framework", "agents", "langgraph", "openai", "pipecat", "pydantic_ai"),
    }
)

_NEEDS: Final = """
It calls a model: set `OPENAI_API_KEY` before. `OPENAI_MODEL` is for another model than `gpt-5-mini`,
`OPENAI_BASE_URL` for another service than OpenAI's that speaks its protocol, such as
`https://RESOURCE.openai.azure.com/openai/v1/`.
"""

# Where each template goes; {package} is the project's package.
_COMMON: Final[Mapping[str, str]] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "Dockerfile": "Dockerfile",
    "dockerignore": ".dockerignore",
    "gitignore": ".gitignore",
    "wheels.md": "wheels/README.md",
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
        extras: Extras of the distribution that the container needs.
        python: The lowest Python.
        test: The folder of the template of its test, if that is not its own.
        variables: Names of variables that the container is given.
    """

    protocol: str
    what: str
    talk: str
    cpu: str = "0.25"
    memory: str = "0.5Gi"
    extras: str = "telemetry"
    python: str = "3.10"
    test: str = ""
    variables: tuple[str, ...] = ()


KINDS: Final[Mapping[str, Kind]] = {
    "basic": Kind(
        INVOCATIONS_PROTOCOL,
        "An agent that says back what it was told.",
        """agentserver invoke '{"message": "hello"}'""",
    ),
    "streaming": Kind(
        INVOCATIONS_PROTOCOL,
        "An agent that streams its answer.",
        """agentserver invoke '{"message": "hello there"}'""",
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


def _framework(name: str, what: str, python: str = "3.10") -> Kind:
    return Kind(
        INVOCATIONS_PROTOCOL,
        what,
        """agentserver invoke '{"message": "How is the weather in Rome?"}'""",
        cpu="0.5",
        memory="1Gi",
        extras=f"{name},telemetry",
        python=python,
        test="framework",
        variables=("OPENAI_API_KEY",),
    )


FRAMEWORKS: Final[Mapping[str, Kind]] = {
    "agent-framework": _framework("agent-framework", "An agent of Microsoft's Agent Framework."),
    "langgraph": _framework("langgraph", "A graph of LangGraph."),
    "openai-agents": _framework("openai-agents", "An agent of the OpenAI Agents SDK."),
    "pydantic-ai": _framework("pydantic-ai", "An agent of Pydantic AI.", "3.11"),
}
VOICE: Final = Kind(
    INVOCATIONS_WS_PROTOCOL,
    "A voice agent that says back what it heard.",
    "agentserver connect",
    "1",
    "2Gi",
    extras="pipecat,telemetry",
    python="3.11",
)
_ALL: Final[Mapping[str, Kind]] = {**KINDS, **FRAMEWORKS, "voice": VOICE}


def new(arguments: argparse.Namespace) -> int:
    """Write the project."""
    directory = Path(arguments.name)
    wheel = None if arguments.wheel is None else _wheel(arguments.wheel)
    version = __version__ if wheel is None else wheel.name.split("-")[1]
    words = _words(directory.name, _ALL[arguments.kind], version)
    files: dict[str, str | bytes] = {**_files(arguments.kind, words)}
    if wheel is not None:
        files[f"wheels/{wheel.name}"] = read_file(str(wheel))
    _write(directory, files)
    if arguments.json:
        print_json(sorted(files))
        return Exit.OK
    for name in sorted(files):
        print(directory / name)
    install = "python -m pip install --find-links wheels -e '.[dev]'"
    note(f"Next: cd {directory}, {install}, agentserver dev {words['package']}.handler")
    return Exit.OK


def _wheel(path: str) -> Path:
    wheel = Path(path).expanduser()
    if not _WHEEL.fullmatch(wheel.name):
        words = f"{path} is no wheel of {_DISTRIBUTION}: 'make wheel' in its repository makes one"
        raise CommandError(words)
    if not wheel.is_file():
        raise CommandError(f"There is no file {path!r} in {Path.cwd()}")
    return wheel


def _words(name: str, kind: Kind, version: str) -> dict[str, str]:
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} is no name of an agent: give up to 63 letters, digits and hyphens, a letter first"
        )
    package = name.replace("-", "_").lower()
    if package in _TAKEN or package in sys.stdlib_module_names or keyword.iskeyword(package):
        raise CommandError(f"{name!r} is the name of another Python module: choose another name")
    parts = [part for part in name.split("-") if part]
    major, minor, *_ = version.split(".")
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
        "versions": f">={version},<{major}.{int(minor) + 1}",
        "extras": kind.extras,
        "python": kind.python,
        "needs": _NEEDS if kind.variables else "",
        "variables": "".join(f"\n  - name: {name}\n    value: ${{{name}}}" for name in kind.variables)
        or " []",
        "template_variables": "".join(
            f"\n    - name: {name}\n      value: ${{{name}}}" for name in kind.variables
        )
        or " []",
    }


def _files(kind: str, words: Mapping[str, str]) -> dict[str, str]:
    folders = {"handler.py": kind, "test_handler.py": _ALL[kind].test or kind}
    places = {**_COMMON, **{f"{folders[template]}/{template}": place for template, place in _OWN.items()}}
    return {
        place.format(package=words["package"]): Template(
            (_TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")
        ).substitute(words)
        for template, place in places.items()
    }


def _write(directory: Path, files: Mapping[str, str | bytes]) -> None:
    try:
        if directory.exists() and any(directory.iterdir()):
            raise CommandError(f"{directory} is there and not empty: choose another name")
        for name, content in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise CommandError(f"{directory} cannot be written: {error.strerror}", Exit.FAILED) from None
