"""What telemetry is told of the work under way: the one seam between serving and observing.

The pipeline holds an observer only once telemetry is wanted; nothing of OpenTelemetry is imported for this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from agentserver._http.exchange import Exchange

OPENTELEMETRY: Final = "opentelemetry.trace"  # in sys.modules as soon as anything could make a span


class Traffic:
    """WebSocket connections and what they have carried so far; plain counters, read when metrics are."""

    __slots__ = ("bytes_received", "bytes_sent", "connections", "messages_received", "messages_sent")

    def __init__(self) -> None:
        self.connections = 0
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


class Observer(Protocol):
    """Telemetry, as the pipeline knows it; what it keeps of an exchange stands on the exchange.

    It is called in the task that serves the exchange. None of its methods may raise.
    """

    @property
    def traffic(self) -> Traffic:
        """Where WebSocket connections count themselves and their messages."""
        ...

    def begin(self, exchange: Exchange, method: str) -> None:
        """A request was read; *exchange* has no operation and no ids yet."""
        ...

    def identify(self, exchange: Exchange) -> None:
        """*exchange* has its operation and ids; what the handler starts from now on is a child of it."""
        ...

    def action(self, operation: str, invocation_id: str, session_id: str) -> ActionScope:
        """Begin one action of a connection: ``invoke``, ``get_invocation`` or ``cancel_invocation``."""
        ...

    def end(self, exchange: Exchange, status: int) -> None:
        """The last byte has gone out, or never will; *exchange* says with what failure or close code."""
        ...
