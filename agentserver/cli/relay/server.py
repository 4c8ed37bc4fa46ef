"""What ``agentserver inspect`` starts: a relay to an agent elsewhere, with the inspector's tap."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from types import FrameType

from aiohttp import web

from agentserver.cli.development.process import end_with_parent
from agentserver.cli.errors import exit_of
from agentserver.cli.relay.carrier import application
from agentserver.cli.relay.upstream import Upstream, endpoint_of
from agentserver.errors import AgentServerError

__all__ = ["main"]


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--tap", type=int, required=True)
    arguments, _ = parser.parse_known_args()
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    signal.signal(signal.SIGTERM, _end)
    try:
        upstream = Upstream(endpoint_of(arguments.url))
    except AgentServerError as error:
        print(f"agentserver: error: {error}", file=sys.stderr)
        return exit_of(error)
    from agentserver.inspector.tap import install

    install(arguments.tap)
    listener = socket.socket(fileno=arguments.listener)
    listener.set_inheritable(False)
    web.run_app(application(upstream, None), sock=listener, print=None, access_log=None, shutdown_timeout=0.3)
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise web.GracefulExit


if __name__ == "__main__":
    sys.exit(main())
