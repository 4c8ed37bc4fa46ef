"""What telemetry is told of the work under way: the one seam between serving and observing.

The pipeline holds an observer only once telemetry is wanted; nothing of OpenTelemetry is imported for this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from aiohttp import web

    from agentserver.core._exchange import Exchange

OPENTELEMETRY: Final = "opentelemetry.trace"  # in sys.modules as soon as anything could make a span


class Traffic:
    """What WebSocket connections have carried so far; plain counters, read when metrics are collected."""

    __slots__ = ("bytes_received", "bytes_sent", "messages_received", "messages_sent")

    def __init__(self) -> None:
        self.messages_received = 0
        self.messages_sent = 0
        self.bytes_received = 0
        self.bytes_sent = 0

    def received(self, size: int) -> None:
        """Count one data message of *size* bytes from the client."""
        self.messages_received += 1
        self.bytes_received += size

    def sent(self, size: int) -> None:
        """Count one data message of *size* bytes to the client."""
        self.messages_sent += 1
        self.bytes_sent += size


class ActionScope(Protocol):
    """One action on a connection, observed; begun and ended in the task that serves it."""

    def end(self, error: BaseException | None = None, code: str = "") -> None:
        """The action is done; *error* and *code* say how it failed, if it did."""
        ...


class Scope(Protocol):
    """One request or connection, observed; begun, identified and ended in the task that serves it."""

    @property
    def traffic(self) -> Traffic:
        """Where a WebSocket connection counts its messages."""
        ...

    def identify(self) -> None:
        """Take the exchange's operation and ids, known from now on; what the handler starts is a child."""
        ...

    def action(self, operation: str, invocation_id: str, session_id: str) -> ActionScope:
        """Begin one action of a connection: ``invoke``, ``get_invocation`` or ``cancel_invocation``."""
        ...

    def end(self, status: int) -> None:
        """The last byte has gone out, or never will; the exchange says with what failure or close code."""
        ...


class Observer(Protocol):
    """Telemetry, as the pipeline knows it. None of its methods may raise."""

    def begin(self, request: web.Request, exchange: Exchange) -> Scope:
        """A request was read; *exchange* has no operation and no ids yet."""
        ...
