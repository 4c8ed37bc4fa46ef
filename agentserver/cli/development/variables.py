"""The variables that an agent gets on a developer's machine: those of ``.env`` and of ``agent.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agentserver.cli.errors import CommandError, MissingPackageError

__all__ = ["Source", "read_variables"]

_REFERENCE = re.compile(r"\$\{(\w+)\}")


class Source(NamedTuple):
    """A file, and the variables that were taken from it.

    Args:
        path: The file.
        variables: Names and values.
        unresolved: Names that were left out because they refer to a variable that is not set.
    """

    path: Path
    variables: Mapping[str, str]
    unresolved: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = f"{self.path.name}: {', '.join(self.variables) or 'nothing'}"
        left_out = ", ".join(self.unresolved)
        return words + (f"; left out, as they refer to what is not set: {left_out}" if left_out else "")


def read_variables(directories: Iterable[Path], environment: Mapping[str, str]) -> list[Source]:
    """Read the first ``.env`` and the first ``agent.yaml`` of *directories*.

    What is set already is not taken again: the process's environment goes before ``.env``, and that before
    ``agent.yaml``.

    Args:
        directories: Where to look.
        environment: The variables that are set.

    Raises:
        CommandError: If a file cannot be read or understood.
    """
    places = list(directories)
    known = dict(environment)
    sources: list[Source] = []
    for name, read in ((".env", _read_dotenv), ("agent.yaml", _read_agent_yaml)):
        path = next((place / name for place in places if (place / name).is_file()), None)
        if path is None:
            continue
        found = {key: value for key, value in read(path).items() if key not in known}
        if found:
            sources.append(_resolved(path, found, known) if name == "agent.yaml" else Source(path, found))
            known.update(sources[-1].variables)
    return sources


def _read_dotenv(path: Path) -> dict[str, str]:
    try:
        from dotenv import dotenv_values
    except ImportError:
        raise MissingPackageError(f"Reading {path.name}") from None
    try:
        values = dotenv_values(path, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    return {name: value for name, value in values.items() if value is not None}


def _read_agent_yaml(path: Path) -> dict[str, str]:
    try:
        import yaml
    except ImportError:
        raise MissingPackageError(f"Reading {path.name}") from None
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _unreadable(path, error) from None
    try:
        entries: Any = document.get("environment_variables") if document else None
        return {_name(entry["name"]): _text(entry.get("value")) for entry in entries or ()}
    except (AttributeError, KeyError, TypeError, ValueError):
        words = f"{path.name}: environment_variables must be a list of {{name: NAME, value: VALUE}}"
        raise CommandError(words) from None


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value or set(value) & set("=\0"):
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()  # as YAML writes it
    return "" if value is None else str(value)


def _resolved(path: Path, found: Mapping[str, str], known: Mapping[str, str]) -> Source:
    """Put in what ``${NAME}`` refers to; a variable that refers to nothing is left out."""
    names = {name: set(_REFERENCE.findall(value)) for name, value in found.items()}
    unresolved = tuple(name for name, wanted in names.items() if not wanted <= known.keys())
    values = {
        name: _REFERENCE.sub(lambda match: known[match[1]], value)
        for name, value in found.items()
        if name not in unresolved
    }
    return Source(path, values, unresolved)


def _unreadable(path: Path, error: Exception) -> CommandError:
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return CommandError(f"{path} cannot be read: {words}")
