"""The one name of aiohttp's inside that testing uses, and what breaks when it changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from socket import socket

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

__all__ = ["SocketConnector"]


class SocketConnector(aiohttp.BaseConnector):
    """A connector whose connections are sockets that somebody gives it: no port, no name to look up.

    aiohttp's own connectors override the same method, ``_create_connection``, and make the protocol with
    the same ``_factory``; there is no public way that needs no address. If either changes, every test that
    uses `in_process` fails at its first request.

    Args:
        connect: Gives a connected stream socket for each new connection.
    """

    def __init__(self, connect: Callable[[], Awaitable[socket]]) -> None:
        super().__init__(limit=0)
        self._connect_socket = connect

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        connection = await self._connect_socket()
        _, protocol = await self._loop.create_connection(self._factory, sock=connection)
        return protocol
