"""Checks of start, time and end."""

from __future__ import annotations

import json

from agentserver.conformance.checks.registry import check
from agentserver.conformance.expectation import UnobservableError, is_object
from agentserver.conformance.observation import Observation


@check("env.start-line")
def _start_line(seen: Observation) -> str | None:
    lines = _output(seen).splitlines()
    if any("parity" in line and "invocations" in line for line in lines):
        return None
    return "no line of the output names the agent and the protocols that are served"


@check("env.log-json")
def _log_json(seen: Observation) -> str | None:
    lines = _output(seen).splitlines()
    if not lines:
        return "nothing was logged"
    plain = next((line for line in lines if not _is_json_object(line)), None)
    return None if plain is None else f"a line of the log is no JSON object: {plain[:200]!r}"


def _is_json_object(line: str) -> bool:
    try:
        return is_object(json.loads(line))
    except ValueError:
        return False


@check("env.secrets-masked")
def _secrets_masked(seen: Observation) -> str | None:
    told = [word for word in ("SECRETKEY", "SECRETPATH", "SECRETQUERY") if word in _output(seen)]
    return f"the output tells {', '.join(told)}" if told else None


@check("lifetime.stream-flushed")
def _stream_flushed(seen: Observation) -> str | None:
    """The handler waits a second between two chunks; the head must be there long before the end."""
    took = seen.last["body_ms"]
    return None if took >= 200 else f"the body came all at once, {took} ms after the head"


@check("lifetime.concurrent")
def _concurrent(seen: Observation) -> str | None:
    slow, fast = seen.results
    if fast.get("body") != "meanwhile" or slow.get("status") != 200:
        return f"the answers are {slow.get('status')} and {fast.get('status')}"
    return None if fast["done_ms"] < slow["done_ms"] else "the fast answer came after the slow one"


@check("shutdown.term-refuses", "shutdown.int-refuses")
def _new_work_refused(seen: Observation) -> str | None:
    """Refusing the connection and answering 503 on it both turn new work away."""
    answer = seen.results[2]
    return (
        None
        if "error" in answer or answer["status"] == 503
        else f"a new connection was answered {answer['status']}"
    )


@check("shutdown.idle")
def _idle_end(seen: Observation) -> str | None:
    if seen.last["exit_code"] != 0:
        return f"the exit code is {seen.last['exit_code']}, expected 0"
    return None if seen.last["seconds"] <= 5 else f"it took {seen.last['seconds']} s"


@check("shutdown.overlong")
def _overlong_end(seen: Observation) -> str | None:
    request, end = seen.results
    if request.get("status") == 200:
        return "the request of 30 s was waited for"
    return "the server did not end within 20 s" if end["exit_code"] is None else None


def _output(seen: Observation) -> str:
    if seen.output is None:
        raise UnobservableError("needs the server's output")
    return seen.output
