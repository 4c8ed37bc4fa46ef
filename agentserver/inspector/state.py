"""What the inspector knows, and who is told of its changes. Lives in the inspector's event loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final

from agentserver.inspector.exchanges import Exchange, Exchanges
from agentserver.inspector.recording import Recording
from agentserver.inspector.records import Kind, Reader, Record
from agentserver.inspector.traces import Spans, Trace, Traces

__all__ = ["State"]

_LOGS_KEPT: Final = 2000
_LOG_TEXT_KEPT: Final = 16 * 1024
_RUNS_KEPT: Final = 200
_STEPS_KEPT: Final = 500
_TELL_SECONDS: Final = 0.1
_UNREAD_CHANGES: Final = 256
"""Messages that wait for a page that does not read; then it is left, and asks anew."""


class State:
    """The agent's lives, its exchanges and its log.

    Args:
        maker_of: As for `Recording`.
    """

    def __init__(self, maker_of: Callable[[int], tuple[str, int]]) -> None:
        self.start = time.monotonic()
        self.started_at = time.time()
        self.zero = int(self.started_at * 1e9)
        self.exchanges = Exchanges()
        self.traces = Traces()
        self.steps: OrderedDict[str, deque[dict[str, Any]]] = OrderedDict()
        self.logs: deque[dict[str, Any]] = deque(maxlen=_LOGS_KEPT)
        self.agent: dict[str, Any] = {
            "state": "starting",
            "life": 0,
            "pid": None,
            "exit": None,
            "address": "",
        }
        self.unrecorded = 0
        self._maker_of = maker_of
        self._changed: dict[int, Exchange] = {}
        self._changed_traces: dict[str, Trace] = {}
        self._new_logs: list[dict[str, Any]] = []
        self._other: list[dict[str, Any]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._subscribers: set[asyncio.Queue[str | None]] = set()

    def subscribe(self) -> asyncio.Queue[str | None]:
        """A queue of lines of JSON: what is known, then each change; ``None`` when nobody reads it."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        known = {
            "clock": {"started_at": self.started_at, "now": _ms(time.monotonic() - self.start)},
            "agent": self.agent,
            "exchanges": [exchange.summary(self.start) for exchange in self.exchanges.all()],
            "forgotten": self.exchanges.dropped,
            "unrecorded": self.unrecorded,
            "traces": [trace.summary(self.zero) for trace in self.traces.all()],
            "traces_forgotten": self.traces.dropped,
            "logs": list(self.logs),
        }
        queue.put_nowait(json.dumps(known))
        self._subscribers.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[str | None]) -> None:
        """Forget a subscriber."""
        self._subscribers.discard(queue)

    def life(self) -> Life:
        """Begin to take the records of another process of the agent."""
        recording = Recording(self.exchanges, self._maker_of, self._exchange_changed)
        return Life(self, recording, Spans(self.traces, self._trace_changed))

    def set_agent(self, **facts: Any) -> None:
        """Take note of what has become of the agent's process."""
        self.agent = {**self.agent, **facts}
        self._tell_soon({"agent": self.agent})

    def note(self, message: str, level: str = "INFO") -> None:
        """Add a line of ``agentserver dev`` itself to the log."""
        self.add_log(time.monotonic(), {"level": level, "logger": "agentserver.dev", "message": message})

    def add_log(self, at: float, fields: dict[str, Any]) -> None:
        """Add a record to the log."""
        entry: dict[str, Any] = {"exception": "", "ids": {}, **fields, "at": _ms(at - self.start)}
        for name in ("message", "exception"):
            entry[name] = str(entry[name])[:_LOG_TEXT_KEPT]
        self.logs.append(entry)
        self._new_logs.append(entry)
        self._tell_soon()

    def add_step(self, at: float, fields: dict[str, Any]) -> None:
        """A step of a durable run was recorded."""
        steps = self.steps.setdefault(fields.pop("run"), deque(maxlen=_STEPS_KEPT))
        steps.append({**fields, "at": _ms(at - self.start)})
        while len(self.steps) > _RUNS_KEPT:
            self.steps.popitem(last=False)

    def call_failed(self, number: int, words: str) -> None:
        """A call of the page did not reach the agent."""
        self._tell_soon({"failed": {"call": number, "message": words}})

    def clear(self) -> None:
        """Forget the exchanges and traces that have ended, and the log."""
        self.exchanges.clear()
        self.traces.clear()
        self.logs.clear()
        left = {
            "exchanges": [exchange.id for exchange in self.exchanges.all()],
            "traces": [trace.id for trace in self.traces.all()],
        }
        self._tell_soon({"cleared": left})

    def add_unrecorded(self, records: int) -> None:
        """So many records were dropped by the agent's process."""
        self.unrecorded += records
        self._tell_soon({"unrecorded": self.unrecorded})

    def _exchange_changed(self, exchange: Exchange) -> None:
        self._changed[exchange.id] = exchange
        self._tell_soon()

    def _trace_changed(self, trace: Trace) -> None:
        self._changed_traces[trace.id] = trace
        self._tell_soon()

    def _tell_soon(self, message: dict[str, Any] | None = None) -> None:
        if message is not None:
            self._other.append(message)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self.exchanges.trim()
        message: dict[str, Any] = {}
        for other in self._other:
            message.update(other)
        if self._changed:
            message["exchanges"] = [exchange.summary(self.start) for exchange in self._changed.values()]
            message["forgotten"] = self.exchanges.dropped
        if self._changed_traces:
            message["traces"] = [trace.summary(self.zero) for trace in self._changed_traces.values()]
            message["traces_forgotten"] = self.traces.dropped
        if self._new_logs:
            message["logs"] = self._new_logs[-_LOGS_KEPT:]
        self._changed, self._new_logs, self._other = {}, [], []
        self._changed_traces = {}
        line = json.dumps(message)
        for queue in list(self._subscribers):
            if queue.qsize() < _UNREAD_CHANGES:
                queue.put_nowait(line)
            else:
                self.unsubscribe(queue)
                queue.put_nowait(None)


class Life(asyncio.Protocol):
    """The pipe from one process of the agent."""

    def __init__(self, state: State, recording: Recording, spans: Spans) -> None:
        self._state = state
        self._spans = spans
        self._recording = recording
        self._reader = Reader()

    def data_received(self, data: bytes) -> None:
        """Take what came through the pipe."""
        for record in self._reader.feed(data):
            self._take(record)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended."""
        self._recording.end(time.monotonic())
        self._spans.stop()

    def _take(self, record: Record) -> None:
        if record.kind is Kind.LOG:
            self._state.add_log(record.at, record.json())
        elif record.kind is Kind.SPAN:
            self._spans.take(record.json())
        elif record.kind is Kind.STEP:
            self._state.add_step(record.at, record.json())
        elif record.kind is Kind.DROPPED:
            self._state.add_unrecorded(record.json())
        else:
            self._recording.take(record)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
