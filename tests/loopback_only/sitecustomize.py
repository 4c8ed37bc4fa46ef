"""Refuses every connection to another machine, in any Python process that has this folder on its path.

Python imports a module of this name by itself at every start. What is refused is written down, too: a library
may well swallow the exception.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

REPORT_VARIABLE = "AGENTSERVER_REFUSED_CONNECTIONS"
_CONNECTING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_FAMILIES = {socket.AF_INET, socket.AF_INET6}
_RESOLVING = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}


def is_here(host: object, *, numeric: bool) -> bool:
    """Whether *host* is this machine; with *numeric*, any address will do: it need not be looked up."""
    if isinstance(host, bytes):
        host = host.decode()
    if not isinstance(host, str) or host in {"", "localhost"}:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return numeric or address.is_loopback or address.is_unspecified


def refuse_others(event: str, arguments: tuple[Any, ...]) -> None:
    """Be told of everything Python does, and stop what leaves the machine."""
    if event in _CONNECTING:
        client, address = arguments[:2]
        # A message on a connection has no address; asyncio sends such messages from Python 3.12 on.
        host = address[0] if address and client.family in _FAMILIES else None
        allowed = is_here(host, numeric=False)
    elif event in _RESOLVING:
        host = arguments[0]
        allowed = is_here(host, numeric=True)
    else:
        return
    if not allowed:
        report = os.environ.get(REPORT_VARIABLE)
        if report:
            with open(report, "a", encoding="utf-8") as file:
                print(event, host, " ".join(sys.argv), file=file)
        raise PermissionError(f"{event} to {host!r}: only this machine may be talked to in a test")


sys.addaudithook(refuse_others)
