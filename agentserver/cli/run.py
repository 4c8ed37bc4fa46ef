"""``agentserver run``: a handler, served until the process is told to stop."""

from __future__ import annotations

import argparse
import os
from typing import Any

from agentserver.cli.outcome import CommandError, Exit
from agentserver.cli.target import load
from agentserver.wire import LOG_FORMAT_VARIABLE, LOG_LEVEL_VARIABLE

__all__ = ["run", "serve", "set_variables"]


def run(arguments: argparse.Namespace) -> int:
    """Serve the target. Returns after a clean end."""
    set_variables(arguments)
    serve(load(arguments.target), arguments)
    return Exit.OK


def serve(target: Any, arguments: argparse.Namespace) -> None:
    """Serve *target*: a handler class, an object, a factory, a host or its builder.

    Raises:
        SystemExit: If the server cannot start; with 1 or 2 and one line on standard error.
        CommandError: If an option comes too late for what *target* is.
    """
    from agentserver.invocations.builder import AgentHost, AgentHostBuilder
    from agentserver.invocations.server import InvocationsServer

    options = {"port": arguments.port, "host": arguments.host}
    chosen = {name: value for name, value in options.items() if value is not None}
    if isinstance(target, AgentHostBuilder):
        target.configure(**chosen).build().run()
    elif isinstance(target, AgentHost):
        if chosen:
            raise CommandError(f"--{min(chosen)} comes too late for a host that is built: name its builder")
        target.run()
    else:
        InvocationsServer.run(target, configure=lambda builder: builder.configure(**chosen))


def set_variables(arguments: argparse.Namespace) -> None:
    """Let options go before their variables, before the target is imported and reads them."""
    for name, value in (
        (LOG_LEVEL_VARIABLE, arguments.log_level),
        (LOG_FORMAT_VARIABLE, arguments.log_format),
    ):
        if value is not None:
            os.environ[name] = value
