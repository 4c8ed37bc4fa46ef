"""Files that are named on the command line."""

from __future__ import annotations

from pathlib import Path

from agentserver.cli.outcome import CommandError

__all__ = ["read_file"]


def read_file(name: str) -> bytes:
    """Return the bytes of the file *name*.

    Raises:
        CommandError: If it cannot be read.
    """
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None
