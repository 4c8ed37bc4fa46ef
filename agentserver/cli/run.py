"""``agentserver run``: a handler, served until the process is told to stop."""

from __future__ import annotations

import argparse
import os

from agentserver.cli.outcome import Exit
from agentserver.cli.target import is_program, load, run_program
from agentserver.wire import LOG_FORMAT_VARIABLE, LOG_LEVEL_VARIABLE, PORT_VARIABLE

__all__ = ["prepare", "run", "serve"]


def run(arguments: argparse.Namespace) -> int:
    """Serve the target. Returns after a clean end."""
    prepare(arguments)
    serve(arguments.target)
    return Exit.OK


def serve(target: str) -> None:
    """Run the program that *target* is, or serve the handler, object, factory, host or builder that it names.

    Raises:
        SystemExit: If the server cannot start; with 1 or 2 and one line on standard error.
        TargetError: If the target cannot be loaded.
    """
    if is_program(target):
        run_program(target)
        return
    from agentserver.invocations.builder import AgentHost, AgentHostBuilder
    from agentserver.invocations.server import InvocationsServer

    found = load(target)
    if isinstance(found, AgentHostBuilder):
        found.build().run()
    elif isinstance(found, AgentHost):
        found.run()
    else:
        InvocationsServer.run(found)


def prepare(arguments: argparse.Namespace) -> None:
    """Let options go before their variables and before the code, which is imported after this."""
    from agentserver._hosting.process import ListenOn, set_listen_on

    for name, value in (
        (LOG_LEVEL_VARIABLE, arguments.log_level),
        (LOG_FORMAT_VARIABLE, arguments.log_format),
        (PORT_VARIABLE, arguments.port),
    ):
        if value:  # port 0 is an option alone: any free one
            os.environ[name] = str(value)
    set_listen_on(ListenOn(arguments.host, arguments.port))
