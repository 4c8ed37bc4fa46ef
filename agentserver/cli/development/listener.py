"""A listening socket that outlives the servers that accept on it."""

from __future__ import annotations

import errno
import os
import socket

from agentserver.cli.errors import CommandError, Exit

__all__ = ["address_of", "open_listener"]

_BACKLOG = 1024
_EVERY = {"0.0.0.0", "::"}


def open_listener(host: str, port: int, option: str = "--port") -> socket.socket:
    """Listen on *host*, a name or an address, empty for all, and *port*, 0 for any free one.

    Args:
        host: See above.
        port: See above.
        option: What chooses the port, for the message.

    Raises:
        CommandError: If that cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # Those who name no protocol mean IPv4: that is how 'localhost' and an empty host are reached by all.
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CommandError(_sentence(host, port, option, error), Exit.FAILED) from None


def address_of(listener: socket.socket) -> str:
    """The URL at which *listener* is reached."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}" + (" (every address of this machine)" if host in _EVERY else "")


def _sentence(host: str, port: int, option: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken: stop the process that listens on it, or give another {option}"
    words = error.strerror or os.strerror(error.errno or 0)
    return f"cannot listen on {host or '*'}:{port}: {words}; give another --host or --port"
