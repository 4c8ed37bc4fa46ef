"""The server's metrics, named by the OpenTelemetry HTTP conventions where those have a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider

from agentserver._telemetry.attributes import ERROR_TYPE, Attributes, type_of
from agentserver._telemetry.observer import RequestEnd, Traffic
from agentserver.wire import ErrorCode

# The values of ``http.request.method``: nothing a client makes up becomes an attribute.
OTHER_METHOD: Final = "_OTHER"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
# The values of ``agentserver.websocket.close_code``: what is registered below 3000, for the same reason.
_CLOSE_CODES: Final = frozenset({*range(1000, 1004), *range(1005, 1016)})
# The buckets that the HTTP conventions advise, and some for answers that take a model minutes.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300)

_MAX_REMEMBERED: Final = 1000  # combinations of attributes; those that come after are made anew


class Current(NamedTuple):
    """What has a current value: plain integers, read when metrics are collected.

    A provider keeps the first of two instruments of one name, and reads nothing else. So the hosts of a
    process that share a provider count into the same integers.
    """

    traffic: Traffic
    requests: Counter[str]


_current_of: Final[WeakKeyDictionary[MeterProvider, Current]] = WeakKeyDictionary()


class Instruments:
    """Everything that is counted and timed.

    Args:
        meter: Where the instruments are made.
        routes: The path of each operation, for ``http.route``.
    """

    def __init__(self, meter: Meter, routes: Mapping[str, str]) -> None:
        histogram = partial(meter.create_histogram, explicit_bucket_boundaries_advisory=list(SECONDS))
        self.traffic, self.requests = _current_of.setdefault(
            get_meter_provider(), Current(Traffic(), Counter())
        )
        self._routes = routes
        self._attributes_of: dict[tuple[str, str, int, str], Attributes] = {}
        self._duration = histogram(
            "http.server.request.duration",
            "s",
            "Duration of HTTP requests, streams to their last byte",
        )
        self._first_byte = histogram(
            "agentserver.response.time_to_first_byte",
            "s",
            "Time until the headers of a streamed response went out",
        )
        self._errors = meter.create_counter(
            "agentserver.errors", "{error}", "Requests, connections and actions that failed"
        )
        self._sessions = histogram(
            "agentserver.websocket.session.duration", "s", "Duration of WebSocket connections"
        )
        self._actions = histogram(
            "agentserver.action.duration", "s", "Duration of actions on WebSocket connections"
        )
        self._observe(meter)

    def _observe(self, meter: Meter) -> None:
        meter.create_observable_up_down_counter(
            "http.server.active_requests",
            [self._active_requests],
            "{request}",
            "HTTP requests in flight, WebSocket connections included",
        )
        meter.create_observable_up_down_counter(
            "agentserver.websocket.active_connections",
            [_reading(lambda: self.traffic.connections)],
            "{connection}",
            "Open WebSocket connections",
        )
        traffic = self.traffic
        meter.create_observable_counter(
            "agentserver.websocket.messages",
            [
                _reading(lambda: traffic.messages_received, {"network.io.direction": "receive"}),
                _reading(lambda: traffic.messages_sent, {"network.io.direction": "transmit"}),
            ],
            "{message}",
            "Data messages on WebSocket connections",
        )
        meter.create_observable_counter(
            "agentserver.websocket.io",
            [
                _reading(lambda: traffic.bytes_received, {"network.io.direction": "receive"}),
                _reading(lambda: traffic.bytes_sent, {"network.io.direction": "transmit"}),
            ],
            "By",
            "Payload bytes of data messages on WebSocket connections",
        )

    def _active_requests(self, _options: CallbackOptions) -> Iterable[Observation]:
        for method, count in list(self.requests.items()):
            yield Observation(count, {"http.request.method": method, "url.scheme": "http"})

    def ended(self, method: str, end: RequestEnd) -> None:
        """Record a request that has ended; *method* is one of `METHODS`, or `OTHER_METHOD`."""
        error = type_of(end.error, str(end.status)) if end.status >= 500 else ""
        key = (end.operation, method, end.status, error)
        attributes = self._attributes_of.get(key) or self._attributes(*key)
        self._duration.record(end.seconds, attributes)
        if end.first_byte:
            self._first_byte.record(end.first_byte, attributes)
        if end.close_code:
            self._closed(end)
        if end.failure is not None:
            self.failed(end.operation, end.failure.code, end.failure.source.value)

    def _attributes(self, operation: str, method: str, status: int, error: str) -> Attributes:
        attributes: Attributes = {
            "http.request.method": method,
            "http.response.status_code": status,
            "url.scheme": "http",
        }
        if operation in self._routes:
            attributes["http.route"] = self._routes[operation]
        if error:
            attributes[ERROR_TYPE] = error
        if len(self._attributes_of) < _MAX_REMEMBERED:
            self._attributes_of[operation, method, status, error] = attributes
        return attributes

    def _closed(self, end: RequestEnd) -> None:
        attributes: Attributes = {}
        if end.close_code in _CLOSE_CODES:
            attributes["agentserver.websocket.close_code"] = end.close_code
        self._sessions.record(end.seconds, attributes)
        if end.error_code and end.error_code != ErrorCode.CANCELLED.value:
            self.failed(end.operation, end.error_code, "upstream")

    def acted(self, operation: str, seconds: float, code: str, source: str) -> None:
        """Record an action that has ended; *code* says how it failed, if it did, *source* who caused that."""
        attributes: Attributes = {"agentserver.operation": operation}
        if code:
            attributes[ERROR_TYPE] = code
        if source:
            self.failed(operation, code, source)
        self._actions.record(seconds, attributes)

    def failed(self, operation: str, code: str, source: str) -> None:
        """Count one failure: what was asked, the error's code, who caused it."""
        self._errors.add(
            1,
            {
                "agentserver.operation": operation,
                "agentserver.error.code": code,
                "agentserver.error.source": source,
            },
        )


def _reading(
    read: Callable[[], int], attributes: dict[str, str] | None = None
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _options: [Observation(read(), attributes)]
