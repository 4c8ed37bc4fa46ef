"""``agentserver proxy``: a loopback port for the pages of a browser application that call a hosted agent.

A browser can set no headers on a WebSocket, and must be given no token. The relay adds both, for pages of the
origins that its command line names.
"""

from __future__ import annotations

import argparse

from aiohttp import web

from agentserver.cli.development.listener import address_of, open_listener
from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.relay.carrier import application
from agentserver.cli.relay.upstream import Upstream, endpoint_of
from agentserver.cli.terminal.output import note

__all__ = ["proxy"]


def proxy(arguments: argparse.Namespace) -> int:
    """Carry calls until Ctrl-C."""
    if "*" in arguments.origin:
        raise CommandError("every page could use your token: name the origins of your application")
    upstream = Upstream(endpoint_of(arguments.url, arguments.agent))
    listener = open_listener("127.0.0.1", arguments.port)
    note(f"calls to {address_of(listener)} go to {upstream.endpoint.invocations}", "cyan")
    note(f"for pages of {', '.join(arguments.origin)} alone; Ctrl-C ends")
    app = application(upstream, arguments.origin)
    web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=0.3)
    return Exit.OK
