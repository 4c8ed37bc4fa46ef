"""Feeds the parsers of ids, headers, paths, frames and events with what atheris makes up.

``python -m hardening.parsers -runs=100000 -max_total_time=20``: the arguments go to libFuzzer. Any exception
but those that a parser promises ends the program, with the input that caused it.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["agentserver"]):
    from agentserver._http.exchange import resolve_request_id
    from agentserver._http.router import Route, RouteTable
    from agentserver._telemetry.trace_context import trace_parent
    from agentserver.actions._codec import decode_action, decode_message
    from agentserver.actions.frames import FrameError
    from agentserver.client.events import EventParser
    from agentserver.invocations._ids import first_valid
    from agentserver.wire import ID_PATTERN, is_valid_id

TABLE = RouteTable([Route("/a", "a", {}), Route("/a/{id}", "b", {}), Route("/a/{id}/c", "c", {})], "/v1")


def ids_and_headers(text: str) -> None:
    header, _, other = text.partition("\n")
    headers = {"traceparent": header, "x-request-id": other}
    for found in (resolve_request_id(headers, trace_parent(headers)), first_valid(text)):
        assert is_valid_id(found), (ID_PATTERN, found)


def paths(text: str) -> None:
    for path in (text, f"/v1/a/{text}", f"/v1/a/{text}/c"):
        TABLE.match(path)


def frames(text: str) -> None:
    for decode in (decode_action, decode_message):
        with contextlib.suppress(FrameError):
            decode(text)


def events(data: bytes) -> None:
    """Wherever the stream is cut, the same events come out."""
    whole = EventParser().feed(data)
    parser = EventParser()
    half = len(data) // 2
    assert [*parser.feed(data[:half]), *parser.feed(data[half:])] == whole


def one_input(data: bytes) -> None:
    text = data.decode("latin-1")
    ids_and_headers(text)
    paths(text)
    frames(data.decode("utf-8", "replace"))
    events(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
