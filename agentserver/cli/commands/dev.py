"""``agentserver dev``: the server in a process of its own, started anew whenever a file changes."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

from agentserver.cli.development.changes import changes_in
from agentserver.cli.development.process import ServerProcess
from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.target import TargetError
from agentserver.cli.terminal.output import note

__all__ = ["dev"]


def dev(arguments: argparse.Namespace) -> int:
    """Serve the target and watch its files until Ctrl-C."""
    directories = _directories(arguments)
    changes = changes_in(directories, arguments.include)
    signal.signal(signal.SIGTERM, _interrupt)
    server = ServerProcess(arguments, directories[0])
    note(f"watching {', '.join(map(str, directories))}; Ctrl-C ends")
    try:
        server.start()
        for changed in changes:
            if changed:
                server.restart(f"{changed} changed")
            server.look()
    except KeyboardInterrupt:
        server.wait_after_interrupt()
    finally:
        server.close()
    return Exit.OK


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
