"""Answers readiness while the event loop cannot: in a thread, on the very port that the loop listens on.

Meanwhile this side accepts the connections. It looks at what a client asks without taking it out of the
socket: readiness is answered here and now, anything else is handed to the loop as it came, for when it runs
again. Connections that were open before are the loop's alone: a probe must come on a connection of its own.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
from collections.abc import Callable, Sequence
from typing import Final

from multidict import CIMultiDict

from agentserver._hosting.health import not_ready_body
from agentserver._http.error_response import to_json
from agentserver._http.exchange import resolve_request_id
from agentserver._telemetry.trace_context import trace_parent
from agentserver.wire import (
    ERROR_SOURCE_HEADER,
    READINESS_ROUTE,
    REQUEST_ID_HEADER,
    SERVER_HEADER,
    ErrorSource,
)

_POLL: Final = 0.02  # seconds until the loop's return is seen
_PATIENCE: Final = 0.01  # seconds: who has had an answer of the loop's is not told that it is blocked
_MAX_HEAD: Final = 16384
_MAX_HELD: Final = 1024  # as many as the backlog of the listening socket
_PROBES: Final = tuple(f"{method} {READINESS_ROUTE}{end}" for method in ("GET", "HEAD") for end in " ?/")
_BODY: Final = to_json(
    not_ready_body("blocked", "The event loop is blocked by a handler that does not await", [])
)


class Standby:
    """Stands in for the running loop on the sockets that it listens on.

    Args:
        listener: The loop's listener, open as long as ``serve`` may be called.
        factory: Makes the protocol of a connection.
        identity: The value of ``x-platform-server``.
    """

    def __init__(
        self, listener: asyncio.Server, factory: Callable[[], asyncio.Protocol], identity: str
    ) -> None:
        self._listener = listener
        self._factory = factory
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self._adopting: set[asyncio.Task[object]] = set()

    def serve(self, until: Callable[[float], bool]) -> None:
        """Accept connections, and answer what is readiness, *until* it is said that the loop runs again.

        Blocks: to be called in another thread than the loop's.

        Args:
            until: Waits so many seconds for the loop, and tells whether it runs again.
        """
        shift = _Shift([listening.fileno() for listening in self._listener.sockets], self._identity)
        try:
            while not until(0):
                shift.step(until)
        finally:
            left = shift.close()
            try:
                self._loop.call_soon_threadsafe(self._adopt, left)
            except RuntimeError:  # the loop has ended for good
                for connection in left:
                    connection.close()

    def _adopt(self, connections: list[socket.socket]) -> None:
        for connection in connections:
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, connection))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)


class _Shift:
    """One time of standing in."""

    def __init__(self, listening: Sequence[int], identity: str) -> None:
        self._identity = identity
        self._held: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._listeners = [socket.socket(fileno=os.dup(descriptor)) for descriptor in listening]
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def step(self, until: Callable[[float], bool]) -> None:
        """Serve who is there, unless the loop is just coming back."""
        for key, _ in self._selector.select(_POLL):
            if not until(_PATIENCE):
                key.data(key.fileobj)

    def close(self) -> list[socket.socket]:
        """Stop accepting; the result is what the loop must serve."""
        silent = [key.fileobj for key in self._selector.get_map().values() if key.data == self._look]
        self._selector.close()
        for listener in self._listeners:
            listener.close()
        return [*self._held, *(waiting for waiting in silent if isinstance(waiting, socket.socket))]

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # no file descriptor is left: the backlog keeps them until the loop is back
            self._selector.unregister(listener)
            return
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, self._look)
        if len(self._held) + len(self._selector.get_map()) >= _MAX_HELD:
            self._selector.unregister(listener)

    def _look(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        try:
            head = connection.recv(_MAX_HEAD, socket.MSG_PEEK).decode("latin-1")
            if not head.startswith(_PROBES) or "\r\n\r\n" not in head:
                self._held.append(connection)
                return
            connection.recv(_MAX_HEAD)  # what is left unread would turn the close into a reset
            connection.send(_answer(head, self._identity))
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # the client has left
            pass
        connection.close()


def _answer(head: str, identity: str) -> bytes:
    fields = (line.partition(":") for line in head.partition("\r\n\r\n")[0].split("\r\n")[1:])
    headers = CIMultiDict((name, value.strip()) for name, _, value in fields)
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        f"Content-Length: {len(_BODY)}",
        "Connection: close",
        f"{REQUEST_ID_HEADER}: {resolve_request_id(headers, trace_parent(headers))}",
        f"{SERVER_HEADER}: {identity}",
        f"{ERROR_SOURCE_HEADER}: {ErrorSource.UPSTREAM.value}",
    )
    body = "" if head.startswith("HEAD") else _BODY
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")
