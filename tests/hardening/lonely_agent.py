"""Lives a whole life on a machine without a network but loopback, and prints how often it tried to leave.

To be run in a network namespace of its own. Whatever has no route there is counted by the kernel, from
libraries in C too.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import pkgutil
import socket
import struct
from pathlib import Path

import aiohttp
from aiohttp import web

import agentserver
from agentserver import AgentHost, InvocationContext, InvocationHandler

SIOCSIFFLAGS = 0x8914
IFF_UP = 1


class Echo(InvocationHandler):
    """Echoes."""

    async def handle(self, request: web.Request, context: InvocationContext) -> bytes:
        """Answer with the body."""
        return await request.read()


def bring_loopback_up() -> None:
    """Switch ``lo`` on, which a new namespace has switched off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def packets_without_a_route() -> int:
    """What the kernel could not send anywhere, IPv4 and IPv6."""
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")
    )
    six = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(values[names.index("OutNoRoutes")]) + int(six["Ip6OutNoRoutes"])


def import_everything() -> None:
    """Import every module there is, except for programs and what needs an agent framework."""
    packages = pkgutil.walk_packages(agentserver.__path__, "agentserver.", onerror=lambda _: None)
    for module in packages:
        needs_framework = module.name.startswith("agentserver.integrations.") and (
            module.ispkg or module.name.count(".") > 2
        )
        if not module.name.endswith("__main__") and not needs_framework:
            importlib.import_module(module.name)


async def live() -> None:
    """Start, serve, stop."""
    builder = AgentHost.create_builder().add_invocations(Echo).configure(host="127.0.0.1", port=0)
    async with (
        builder.build() as host,
        aiohttp.ClientSession(f"http://127.0.0.1:{host.port}") as client,
        client.post("/invocations", data=b"hello") as response,
    ):
        assert await response.read() == b"hello"


if __name__ == "__main__":
    bring_loopback_up()
    import_everything()
    asyncio.run(live())
    print("served; left the machine", packets_without_a_route(), "times")
