"""Which files have changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from agentserver.cli.errors import MissingPackageError

__all__ = ["changes_in"]

_SUFFIXES: Final = (".py", ".yaml", ".yml", ".toml", ".json", ".env", ".md", ".txt", ".j2")


def changes_in(directories: list[Path], patterns: list[str]) -> Iterator[str]:
    """Give the name of a changed file, or nothing every half second.

    Args:
        directories: Where to look, with all that is below.
        patterns: Of names of further files, such as ``*.sql``.
    """
    try:
        from watchfiles import DefaultFilter, watch
    except ImportError:
        raise MissingPackageError("'agentserver dev'") from None

    ignore = DefaultFilter()
    found = watch(
        *directories,
        watch_filter=lambda change, path: _is_watched(path, patterns) and ignore(change, path),
        debounce=200,
        step=20,
        rust_timeout=500,
        yield_on_timeout=True,
        raise_interrupt=True,
    )
    return (min((Path(path).name for _, path in changes), default="") for changes in found)


def _is_watched(path: str, patterns: list[str]) -> bool:
    name = os.path.basename(path)
    return path.endswith(_SUFFIXES) or any(fnmatch(name, pattern) for pattern in patterns)
