"""What telemetry is told of the work under way: the one seam between serving and observing.

The arrow points one way. The server imports this module and hands over plain values; nothing here, and
nothing behind it, knows the server. An observer exists only once telemetry is wanted, and nothing of
OpenTelemetry is imported for this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from agentserver._telemetry.trace_context import TraceParent
from agentserver.errors import Failure

if TYPE_CHECKING:
    from agentserver._telemetry.run_observer import Counts, RunObserver

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


class RequestEnd(NamedTuple):
    """How a request ended.

    Args:
        operation: What was done: ``"invoke"``, ``"websocket"``, ``"readiness"``, ….
        status: The HTTP status; 101 for a WebSocket.
        seconds: From the moment it was read until its last byte had gone out, or never will.
        first_byte: Seconds until the headers of a stream went out; 0 if it is none.
        failure: What the client was told, or would have been, if it failed.
        error: The exception behind the failure, or behind the end of a connection.
        close_code: The close code of a WebSocket connection, as exchanged; 0 for plain requests.
        error_code: What a WebSocket connection failed with; empty if it did not.
    """

    operation: str
    status: int
    seconds: float
    first_byte: float = 0.0
    failure: Failure | None = None
    error: BaseException | None = None
    close_code: int = 0
    error_code: str = ""


class ActionObservation(Protocol):
    """One action on a connection, observed; begun and ended in the task that serves it."""

    def end(self, error: BaseException | None = None, code: str = "") -> None:
        """The action is done; *error* and *code* say how it failed, if it did."""
        ...


class RequestObservation(Protocol):
    """One request, observed. It is called in the task that serves the request; nothing of it raises."""

    @property
    def traffic(self) -> Traffic:
        """Where WebSocket connections count themselves and their messages."""
        ...

    def identify(self, operation: str, ids: Mapping[str, str]) -> str:
        """The request is *operation* and has *ids*: what its handler starts from now on is a child of it.

        Args:
            operation: What is being done.
            ids: ``invocation_id`` and ``session_id``.

        Returns:
            The id of the trace that the request belongs to; empty if it belongs to none.
        """
        ...

    def action(self, operation: str, invocation_id: str, session_id: str) -> ActionObservation:
        """Begin one action of a connection, such as ``invoke`` or ``get_invocation``."""
        ...

    def end(self, end: RequestEnd) -> None:
        """The last byte has gone out, or never will."""
        ...


class Observer(Protocol):
    """Telemetry, as the server knows it."""

    def begin(
        self, method: str, headers: Mapping[str, str], parent: TraceParent | None
    ) -> RequestObservation:
        """A request was read; it does not raise.

        Args:
            method: Its method, as sent.
            headers: Its headers.
            parent: The caller's span, if *headers* name a valid one.
        """
        ...

    def runs(self, counts: Counts) -> RunObserver:
        """Watch the durable runs of which *counts* says how many there are."""
        ...


class Observed(Protocol):
    """What serves requests and tells an observer of them."""

    observer: Observer | None
    observe: Callable[[], Observer] | None

    def paths(self) -> Mapping[str, str]:
        """The path of each operation."""
        ...
