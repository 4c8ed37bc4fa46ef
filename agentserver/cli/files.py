"""Files that are named on the command line."""

from __future__ import annotations

import os
from pathlib import Path

from agentserver.cli.errors import CommandError

__all__ = ["complete_path", "read_file"]


def read_file(name: str) -> bytes:
    """Return the bytes of the file *name*.

    Raises:
        CommandError: If it cannot be read.
    """
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None


def complete_path(prefix: str) -> list[str]:
    """The files and directories whose path begins with *prefix*, a home directory as ``~`` included."""
    directory, start = os.path.split(prefix)
    try:
        entries = sorted(os.scandir(Path(directory or ".").expanduser()), key=lambda entry: entry.name)
    except (OSError, RuntimeError):  # no such directory, no such home
        return []
    return [
        os.path.join(directory, entry.name) + ("/" if entry.is_dir() else "")
        for entry in entries
        if entry.name.startswith(start) and (start or not entry.name.startswith("."))
    ]
