"""``agentserver dev``: the server in a process of its own, started anew whenever a file changes."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from agentserver.cli.console import note
from agentserver.cli.outcome import CommandError, Exit, MissingPackageError
from agentserver.cli.target import TargetError
from agentserver.wire import SHUTDOWN_TIMEOUT_VARIABLE

__all__ = ["dev"]

_SUFFIXES: Final = (".py", ".yaml", ".yml", ".toml", ".json", ".env")
_STOP_SECONDS: Final = 5.0


def dev(arguments: argparse.Namespace) -> int:
    """Serve the target and watch its files until Ctrl-C."""
    directories = _directories(arguments)
    changes = _changes(directories)
    signal.signal(signal.SIGTERM, _interrupt)
    server = _Server(arguments)
    note(f"watching {', '.join(map(str, directories))}; Ctrl-C ends")
    try:
        server.start()
        for changed in changes:
            if changed:
                note(f"{changed} changed: starting anew", "cyan")
                server.stop()
                server.start()
            server.look()
    except KeyboardInterrupt:
        server.wait_after_interrupt()
    finally:
        server.stop()
    return Exit.OK


class _Server:
    """The server's process."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._command = [sys.executable, "-m", "agentserver.cli.devserver", arguments.target]
        for name in ("port", "host", "log_level", "log_format"):
            value = getattr(arguments, name)
            if value is not None:
                self._command += ["--" + name.replace("_", "-"), str(value)]
        # Someone who saves a file does not want to wait for the answers of the old code.
        self._environment = {SHUTDOWN_TIMEOUT_VARIABLE: "0", **os.environ}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, env=self._environment)  # noqa: S603 - our own module

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            note(f"the server did not end within {_STOP_SECONDS:g} s and is killed", "yellow")
            self._process.kill()
            self._process.wait()
        self._process = None

    def wait_after_interrupt(self) -> None:
        """Let the server end by itself: a terminal's Ctrl-C went to it too, and a second signal kills."""
        if self._process is not None and sys.stdin.isatty():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)

    def look(self) -> None:
        """Say so, once, if the server has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            note(
                f"the server ended with exit code {self._process.returncode}; waiting for a change", "yellow"
            )
            self._process = None


def _changes(directories: list[Path]) -> Iterator[str]:
    """Give the name of a changed file, or nothing every half second."""
    try:
        from watchfiles import DefaultFilter, watch
    except ImportError:
        raise MissingPackageError("'agentserver dev'") from None

    ignore = DefaultFilter()
    found = watch(
        *directories,
        watch_filter=lambda change, path: path.endswith(_SUFFIXES) and ignore(change, path),
        debounce=200,
        step=20,
        rust_timeout=500,
        yield_on_timeout=True,
        raise_interrupt=True,
    )
    return (min((Path(path).name for _, path in changes), default="") for changes in found)


def _directories(arguments: argparse.Namespace) -> list[Path]:
    place = arguments.target.partition(":")[0]
    if place.endswith(".py") and not Path(place).is_file():
        raise TargetError(f"There is no file {place!r} in {Path.cwd()}")
    start = Path(place).resolve().parent if place.endswith(".py") else Path.cwd()
    directories = [start, *(Path(directory).resolve() for directory in arguments.watch)]
    for directory in directories:
        if not directory.is_dir():
            raise CommandError(f"There is no directory {str(directory)!r} to watch")
    return directories


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
