"""``agentserver dev``: the server in a process of its own, started anew whenever a file changes.

This process watches the files and serves the inspector, and so outlives whatever becomes of the server's.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

from agentserver.cli.development.changes import changes_in
from agentserver.cli.development.listener import open_listener
from agentserver.cli.development.process import ServerProcess
from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.target import TargetError
from agentserver.cli.terminal.output import note
from agentserver.wire import HOSTING_VARIABLE

if TYPE_CHECKING:
    from agentserver.inspector.inspector import Inspector

__all__ = ["dev", "interrupt", "obey", "open_inspector"]

_SIGNALS: Final = {"terminate": "SIGTERM", "kill": "SIGKILL"}


def dev(arguments: argparse.Namespace) -> int:
    """Serve the target and watch its files until Ctrl-C."""
    directories = _directories(arguments)
    changes = changes_in(directories, arguments.include)
    signal.signal(signal.SIGTERM, interrupt)
    with ExitStack() as stack:
        wanted = arguments.inspector and os.name == "posix"  # elsewhere a process inherits no pipe
        inspector = open_inspector(arguments) if wanted else None
        if inspector is not None:
            inspector.start()
            stack.callback(inspector.close)
        server = ServerProcess(arguments, directories[0], inspector)
        stack.callback(server.close)
        note(f"watching {', '.join(map(str, directories))}; Ctrl-C ends")
        if inspector is not None:
            note(f"inspector at {inspector.address}", "cyan")
        try:
            server.start()
            for changed in changes:
                if changed:
                    server.restart(f"{changed} changed")
                if inspector is not None:
                    obey(inspector, server)
                server.look()
        except KeyboardInterrupt:
            server.wait_after_interrupt()
    return Exit.OK


def open_inspector(arguments: argparse.Namespace) -> Inspector:
    """Make the inspector on the port that *arguments* name.

    Raises:
        CommandError: If this is no developer's machine, or the port is taken.
    """
    if os.environ.get(HOSTING_VARIABLE):
        raise CommandError(
            f"the inspector is for a developer's machine, and {HOSTING_VARIABLE} is set:"
            " unset it, or give --no-inspector"
        )
    from agentserver.inspector.inspector import Inspector

    listener = open_listener("127.0.0.1", arguments.inspector_port, "--inspector-port")
    return Inspector(listener, arguments.target)


def obey(inspector: Inspector, server: ServerProcess) -> None:
    """Do what the inspector's page has asked for."""
    while True:
        try:
            command = inspector.commands.get_nowait()
        except queue.Empty:
            return
        if command == "reload":
            server.restart("the inspector asked")
        else:
            name = _SIGNALS[command]
            note(f"the inspector sends {name}")
            server.signal(getattr(signal, name))


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


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does; for SIGTERM."""
    raise KeyboardInterrupt
