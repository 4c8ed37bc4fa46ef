"""Whatever a client sends as trace context or baggage is either valid or absent, and never an error."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from opentelemetry import trace
from opentelemetry.context import Context

from agentserver._telemetry import trace_context as w3c
from agentserver._telemetry.opentelemetry_context import parent_of, with_remote_parent
from agentserver._telemetry.trace_context import trace_parent
from tests.telemetry.conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Observed

VERSION = st.sampled_from(["00", "01", "cc", "ff", "0", "000", "0g"])
HEX = st.text("0123456789abcdefABCDEF", max_size=40)
NEARLY = st.tuples(VERSION, HEX, HEX, HEX).map("-".join)
NEARLY_ENTRIES = st.lists(
    st.tuples(st.text("ab@/*_-= ", max_size=6), st.text("ab;%0A\x00é, ", max_size=12)).map("=".join)
).map(",".join)
HEADER = st.one_of(st.text(max_size=80), NEARLY, NEARLY_ENTRIES, st.just("a=b," * 400), st.just("x" * 10_000))


class Catcher(logging.Handler):
    """Keeps every record."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@given(traceparent=HEADER, tracestate=HEADER, baggage=HEADER)
def test_what_is_taken_is_valid_whatever_was_sent(traceparent: str, tracestate: str, baggage: str) -> None:
    headers = CIMultiDict({"traceparent": traceparent, "tracestate": tracestate, "baggage": baggage})
    parent = trace_parent(headers)
    if parent is not None:
        assert len(parent.trace_id) == 32
        assert len(parent.span_id) == 16
        assert int(parent.trace_id, 16)
        assert int(parent.span_id, 16)
        assert 0 <= parent.flags <= 255
    assert len(w3c.trace_state(headers)) <= w3c.MAX_TRACESTATE_ENTRIES
    entries = w3c.baggage(headers)
    assert len(entries) <= w3c.MAX_BAGGAGE_ENTRIES
    assert all(value.isprintable() for value in entries.values())
    for value in w3c.outgoing(headers, {}).values():
        assert value.isascii()
        assert value.isprintable()


@given(traceparent=HEADER, tracestate=HEADER, baggage=HEADER)
def test_the_context_of_a_handler_can_always_be_made(traceparent: str, tracestate: str, baggage: str) -> None:
    headers = CIMultiDict({"traceparent": traceparent, "tracestate": tracestate, "baggage": baggage})
    catcher = Catcher()
    logging.getLogger().addHandler(catcher)
    try:
        parent = parent_of(headers, trace_parent(headers), Context())
        context = with_remote_parent(Context(), parent)
    finally:
        logging.getLogger().removeHandler(catcher)
    active = trace.get_current_span(context).get_span_context()
    assert active.is_valid == (trace_parent(headers) is not None)
    assert active.is_valid == (parent is not None)
    assert not catcher.records


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (TRACEPARENT, True),
        (TRACEPARENT.replace("00-", "01-", 1) + "-more", True),
        (TRACEPARENT + "-more", False),
        (TRACEPARENT.upper(), False),
        (TRACEPARENT.replace("00-", "ff-", 1), False),
        (f"00-{'0' * 32}-{PARENT_ID}-01", False),
        (f"00-{TRACE_ID}-{'0' * 16}-01", False),
        (" " + TRACEPARENT, False),
        ("", False),
    ],
)
def test_a_traceparent_is_taken_as_the_standard_says(sent: str, taken: bool) -> None:
    assert (trace_parent({"traceparent": sent}) is not None) == taken


def test_of_two_traceparents_neither_is_taken() -> None:
    assert trace_parent(CIMultiDict([("traceparent", TRACEPARENT)] * 2)) is None


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("a=1,b@v=2", [("a", "1"), ("b@v", "2")]),
        ("a=1, ,b=2", [("a", "1"), ("b", "2")]),
        ("a=1,a=2", []),
        ("a=1,B=2", []),
        ("a=é", []),
        (",".join(f"k{n}=v" for n in range(33)), []),
        ("a=" + "x" * 600, []),
    ],
)
def test_a_tracestate_is_taken_whole_or_not_at_all(sent: str, taken: list[tuple[str, str]]) -> None:
    assert w3c.trace_state({"tracestate": sent}) == taken


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("a=1;property=x,b = two%20words ", {"a": "1", "b": "two words"}),
        ("a=line%0Abreak,b=2", {"b": "2"}),
        ("a=%ff,b=2", {"b": "2"}),
        ("=1,b,é=1,a b=1,c=3", {"c": "3"}),
        ("x-request-id=forged,c=3", {"c": "3"}),
        ("a=" + "x" * 8000 + ",b=" + "y" * 400, {"a": "x" * 8000}),
    ],
)
def test_of_baggage_the_valid_entries_are_taken(sent: str, taken: dict[str, str]) -> None:
    assert w3c.baggage({"baggage": sent}) == taken


@pytest.mark.parametrize("request_id", ["bad id", "x" * 257, "id\u20ac"])
def test_an_incoming_request_id_that_is_no_id_is_no_baggage(request_id: str) -> None:
    entries = w3c.handler_baggage({"x-request-id": request_id}, {})
    assert entries == ({"x-request-id": "x" * 256} if request_id.startswith("x") else {})


async def test_hostile_headers_break_no_request_of_an_observed_server(observed: Observed) -> None:
    for headers in (
        {"traceparent": "00-zz-1-1", "tracestate": "=" * 600, "baggage": ";;;,=%0d%0ax=1"},
        {"traceparent": TRACEPARENT, "tracestate": "a=1," * 200, "baggage": "k=v," * 2000},
    ):
        status, _ = await observed.invoke("child", **headers)
        assert status == 200
    await observed.stop()
    assert "Traceback" not in "".join(observed.server.log)
    assert not [line for line in observed.server.log if "opentelemetry" in line]
