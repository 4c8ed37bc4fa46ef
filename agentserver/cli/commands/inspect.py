"""``agentserver inspect``: the inspector's page for an agent that runs elsewhere, such as on the platform.

The page's calls go to a relay on this machine, a process of its own that adds the token; the inspector sees
what goes to and from the relay, which has the token in no byte of it.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from agentserver.cli.commands.dev import interrupt, obey, open_inspector
from agentserver.cli.development.process import ServerProcess
from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.relay.upstream import Upstream, endpoint_of
from agentserver.cli.terminal.output import note

__all__ = ["inspect"]

_PROGRAM: Final = "agentserver.cli.relay.server"
_LOOK_SECONDS: Final = 0.2


def inspect(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    if os.name != "posix":
        raise CommandError("agentserver inspect is for POSIX systems: the relay must inherit a pipe")
    endpoint = endpoint_of(arguments.url, arguments.agent)
    Upstream(endpoint)  # what is wrong with the token is said before anything starts
    arguments.target = arguments.url
    if arguments.agent is not None:
        arguments.target = f"{arguments.url.rstrip('/')}/agents/{arguments.agent}"
    arguments.host, arguments.log_level, arguments.log_format, arguments.cors = "127.0.0.1", None, None, []
    signal.signal(signal.SIGTERM, interrupt)
    with ExitStack() as stack:
        inspector = open_inspector(arguments)
        inspector.start()
        stack.callback(inspector.close)
        relay = ServerProcess(arguments, Path.cwd(), inspector, _PROGRAM)
        stack.callback(relay.close)
        note(f"inspector at {inspector.address}", "cyan")
        try:
            relay.start()
            note(f"listening on {relay.address}, for {endpoint.invocations}; Ctrl-C ends")
            while True:
                obey(inspector, relay)
                relay.look()
                time.sleep(_LOOK_SECONDS)
        except KeyboardInterrupt:
            relay.wait_after_interrupt()
    return Exit.OK
