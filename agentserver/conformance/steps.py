"""Run the steps of one case against one server."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentserver.conformance.expectation import differs
from agentserver.conformance.http_client import HttpConnection, ask, exchange
from agentserver.conformance.observation import Answer, Observation, close_event_lines, json_body
from agentserver.conformance.requirement import Case, Step
from agentserver.conformance.server import Server
from agentserver.conformance.stimulus import body_pieces, http_head
from agentserver.conformance.websocket_client import converse
from agentserver.wire import READINESS_ROUTE, REQUEST_ID_HEADER

_EVENTS_WITHIN_S = 5.0


@dataclass
class _Run:
    """What the steps of one case share."""

    server: Server
    begun: float = field(default_factory=time.monotonic)
    results: list[Answer] = field(default_factory=list[Answer])
    background: list[tuple[threading.Thread, Answer]] = field(
        default_factory=list[tuple[threading.Thread, Answer]]
    )
    idle: list[HttpConnection] = field(default_factory=list[HttpConnection])


def run_case(server: Server, case: Case) -> Observation:
    """Run *case* and report what came back; the server's output only as far as the case caused it."""
    before = 0 if case.fresh or not case.starts else len(server.output() or "")
    run = _Run(server)
    for step in case.steps:
        kind = next((name for name in _KINDS if name in step), "method")
        _KINDS.get(kind, _http)(run, step)
    _join(run, {})
    _leave(run, {})
    printed = _settled_output(run, before, case)
    events = None if printed is None else close_event_lines(printed)
    return Observation(case.id, run.results, events, printed)


def _settled_output(run: _Run, before: int, case: Case) -> str | None:
    """The output of the case, once every connection that was opened has its close event."""
    printed = run.server.output()
    if printed is None:
        return None
    opened = sum(answer.get("status") == 101 for answer in run.results)
    deadline = time.monotonic() + (_EVENTS_WITHIN_S if opened else 0)
    while len(close_event_lines(printed[before:])) < opened and time.monotonic() < deadline:
        time.sleep(0.02)
        printed = run.server.output() or ""
    if case.starts and run.server.wait(0) is None:
        printed = _after_one_more_request(run.server, 1.0 if case.log else 0.0)
    return printed[before:]


def _after_one_more_request(server: Server, seconds: float) -> str:
    """The output once one more request is answered, so that lines of the case that come late are in it.

    Servers log later than they answer. Most log the request id, so its line is waited for, at most *seconds*.
    """
    mark = f"settled-{uuid.uuid4().hex}"
    request = {"method": "GET", "path": READINESS_ROUTE, "timeout_s": 2, "headers": {REQUEST_ID_HEADER: mark}}
    exchange(server.host, server.port, request)
    deadline = time.monotonic() + seconds
    while mark not in (printed := server.output() or "") and time.monotonic() < deadline:
        time.sleep(0.02)
    return printed


def _http(run: _Run, step: Step) -> None:
    answer = _until(lambda: exchange(run.server.host, run.server.port, step), step)
    run.results.append({**answer, "done_ms": _elapsed_ms(run)} if run.background else answer)


def _elapsed_ms(run: _Run) -> int:
    return round((time.monotonic() - run.begun) * 1000)


def _until(attempt: Callable[[], Answer], step: Mapping[str, Any]) -> Answer:
    """Repeat *attempt* until its answer matches ``until`` or ``within_s`` (3) is over."""
    deadline = time.monotonic() + float(step.get("within_s", 3))
    answer = attempt()
    while "until" in step and time.monotonic() < deadline:
        if differs(step["until"], {**answer, "json": json_body(answer)}, "") is None:
            break
        time.sleep(0.05)
        answer = attempt()
    return answer


def _websocket(run: _Run, step: Step) -> None:
    answer: Answer = {}
    run.results.append(answer)
    converse(run.server.host, run.server.port, step["ws"], answer)


def _one_connection(run: _Run, step: Step) -> None:
    """Several requests on one connection, one after the other; other steps may stand between them."""
    with HttpConnection(run.server.host, run.server.port) as connection:
        for inner in step["one_connection"]:
            kind = next((name for name in _KINDS if name in inner), None)
            if kind is None:
                run.results.append(ask(connection, inner))
            else:
                _KINDS[kind](run, inner)


def _pipeline(run: _Run, step: Step) -> None:
    """Several raw requests in one write, their answers in order."""
    requests: list[str] = step["pipeline"]
    with HttpConnection(run.server.host, run.server.port) as connection:
        run.results.append(ask(connection, {"raw_request": "".join(requests)}))
        run.results.extend(ask(connection, {"raw_request": "", "method": "GET"}) for _ in requests[1:])


def _background(run: _Run, step: Step) -> None:
    """Start a step and go on; its answer takes this place in the results."""
    place: Answer = {}
    run.results.append(place)

    def work() -> None:
        inner, server = step["background"], run.server
        if "ws" in inner:
            converse(server.host, server.port, inner["ws"], place)
        else:
            place.update(exchange(server.host, server.port, inner))
        place["done_ms"] = _elapsed_ms(run)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    run.background.append((thread, place))


def _wait_frames(run: _Run, step: Step) -> None:
    """Wait until the last background conversation has so many frames, at most five seconds."""
    _, place = run.background[-1]
    deadline = time.monotonic() + 5
    while len(place.get("frames", ())) < step["wait_frames"] and time.monotonic() < deadline:
        time.sleep(0.02)


def _elsewhere(run: _Run, step: Step) -> None:
    """A request on a connection of its own, between the requests of one connection."""
    _http(run, step["elsewhere"])


def _wait_for(run: _Run, step: Step) -> None:
    """Repeat a request until its answer matches; the answer is not part of the results."""
    request = step["wait_for"]
    _until(lambda: exchange(run.server.host, run.server.port, request), request)


def _idle_connections(run: _Run, step: Step) -> None:
    """Open connections that say half a request; they stay until the case ends."""
    for _ in range(step["idle_connections"]):
        connection = HttpConnection(run.server.host, run.server.port)
        connection.socket.sendall(b"POST /invocations HTTP/1.1\r\nHost:")
        run.idle.append(connection)


def _open(run: _Run, step: Step) -> None:
    """Send a request and do not wait for its answer; the connection stays until the client leaves."""
    connection = HttpConnection(run.server.host, run.server.port)
    run.idle.append(connection)
    connection.socket.sendall(http_head(step["open"], connection.host))
    connection.send(body_pieces(step["open"]))


def _leave(run: _Run, step: Step) -> None:
    """Close all connections that wait for nothing."""
    del step
    for connection in run.idle:
        connection.close()
    run.idle.clear()


def _join(run: _Run, step: Step) -> None:
    del step
    for thread, place in run.background:
        thread.join(60)
        if thread.is_alive():
            place["error"] = "no end within 60 s"
    run.background.clear()


def _signal(run: _Run, step: Step) -> None:
    run.server.signal(getattr(signal, step["signal"]))


def _exit(run: _Run, step: Step) -> None:
    """Wait for the process to end, at most the given seconds; with ``or_ready`` until it answers instead."""
    begun = time.monotonic()
    readiness = {"method": "GET", "path": READINESS_ROUTE, "timeout_s": 2}
    while (exit_code := run.server.wait(0.25)) is None and time.monotonic() - begun < step["exit"]:
        if step.get("or_ready") and "status" in exchange(run.server.host, run.server.port, readiness):
            # A server that does not start leaves its port to whoever wants it: this may be somebody else.
            exit_code = run.server.wait(5)
            break
    answer: Answer = {"exit_code": exit_code, "seconds": round(time.monotonic() - begun, 3)}
    run.results.append({**answer, "output": (run.server.output() or "").strip()})


def _connect(run: _Run, step: Step) -> None:
    """Whether the server takes a new connection at this address and answers on it."""
    request = {"method": "GET", "path": READINESS_ROUTE, "timeout_s": 2}
    run.results.append(_until(lambda: exchange(step["connect"], run.server.port, request), step))


def _wait(run: _Run, step: Step) -> None:
    del run
    time.sleep(step["wait_ms"] / 1000)


def _wait_output(run: _Run, step: Step) -> None:
    """Wait until the server has printed the given text, at most three seconds."""
    deadline = time.monotonic() + 3
    while step["wait_output"] not in (run.server.output() or "") and time.monotonic() < deadline:
        time.sleep(0.02)


_KINDS: dict[str, Callable[[_Run, Step], None]] = {
    "ws": _websocket,
    "one_connection": _one_connection,
    "pipeline": _pipeline,
    "background": _background,
    "join": _join,
    "elsewhere": _elsewhere,
    "wait_for": _wait_for,
    "wait_frames": _wait_frames,
    "idle_connections": _idle_connections,
    "open": _open,
    "leave": _leave,
    "signal": _signal,
    "exit": _exit,
    "connect": _connect,
    "wait_ms": _wait,
    "wait_output": _wait_output,
}
