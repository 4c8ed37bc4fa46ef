"""The event parser: the grammar, time in proportion to the stream, and a bound on what it keeps."""

from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentserver.client import AnswerError, StreamEvent
from agentserver.client.sse import EventParser

STREAMS = [
    (b"\xef\xbb\xbfdata: bom\n\n", [StreamEvent("bom")]),
    (b"data\n\ndata:\n\n", [StreamEvent(""), StreamEvent("")]),
    (b"event: lonely\n\ndata: 1\n\n", [StreamEvent("1")]),
    (b"data:  two spaces\r\n\r\n", [StreamEvent(" two spaces")]),
    (b"data: cr\r\rdata: only\r\r", [StreamEvent("cr"), StreamEvent("only")]),
    (b"retry: 250\ndata: a\n\nretry: x\ndata: b\n\n", [StreamEvent("a", retry=250), StreamEvent("b")]),
    (b"id: 7\ndata: a\n\nid: bad\0\ndata: b\n\n", [StreamEvent("a", id="7"), StreamEvent("b", id="7")]),
    (b"unknown: x\n:\ndata: caf\xc3\xa9\n\n", [StreamEvent("caf\N{LATIN SMALL LETTER E WITH ACUTE}")]),
]


@pytest.mark.parametrize(("text", "events"), STREAMS)
def test_the_event_grammar_is_read_as_the_standard_says(text: bytes, events: list[StreamEvent]) -> None:
    assert EventParser().feed(text) == events


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 60), max_size=6))
def test_events_are_the_same_wherever_the_chunks_are_cut(
    case: tuple[bytes, list[StreamEvent]], cuts: list[int]
) -> None:
    text, events = case
    edges = [0, *sorted(cuts), len(text)]
    parser = EventParser()
    found = [event for start, end in pairwise(edges) for event in parser.feed(text[start:end])]
    assert found == events


def seconds_for(megabytes: int, chunk: bytes) -> float:
    """Seconds of CPU time to read one line of *megabytes*, fed in pieces."""
    parser = EventParser()
    started = time.process_time()
    parser.feed(b"data: ")
    for _ in range(megabytes * 1_000_000 // len(chunk)):
        parser.feed(chunk)
    events = parser.feed(b"\n\n")
    assert len(events[0].data) == megabytes * 1_000_000
    return time.process_time() - started


@pytest.mark.parametrize("size", [1000, 50_000])
def test_a_line_of_20_mb_takes_no_more_than_in_proportion_to_a_short_one(size: int) -> None:
    chunk = b"x" * size
    assert seconds_for(20, chunk) < 1.0 + 20 * seconds_for(1, chunk)


def test_an_event_of_many_lines_takes_time_in_proportion_too() -> None:
    parser = EventParser()
    started = time.process_time()
    for _ in range(20):
        parser.feed(b"data: x\n" * 10_000)
    (event,) = parser.feed(b"\n")
    assert event.data.count("x") == 200_000
    assert time.process_time() - started < 5


@pytest.mark.parametrize("piece", [b"x" * 1000, b"data: x\n" * 100, b"data:\n" * 100])
def test_an_event_that_never_ends_is_refused_at_the_limit(piece: bytes) -> None:
    parser = EventParser(limit=100_000)

    def feed_all() -> None:
        for _ in range(1000):
            parser.feed(piece)

    with pytest.raises(AnswerError, match="an event is longer than 100000 characters"):
        feed_all()


@pytest.mark.parametrize("piece", [b": comment\n" * 100, b"unknown: x\n" * 100, b"data: x\n\n" * 100, b"\n"])
def test_what_is_no_part_of_an_event_counts_for_nothing(piece: bytes) -> None:
    parser = EventParser(limit=1000)
    for _ in range(100):
        parser.feed(piece)


def test_fields_that_are_overwritten_do_not_fill_the_memory() -> None:
    parser = EventParser(limit=1000)
    tracemalloc.start()
    try:
        for number in range(2000):
            parser.feed(b"event: %0500d\nid: %0500d\n" % (number, number))
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()


def test_a_limit_of_0_is_none() -> None:
    parser = EventParser(limit=0)
    parser.feed(b"data: " + b"x" * 5_000_000)
    assert len(parser.feed(b"\n\n")[0].data) == 5_000_000


@pytest.mark.parametrize("data", ["{", "[" * 100_000, "9" * 5000])
def test_data_that_is_no_json_is_an_answer_error(data: str) -> None:
    with pytest.raises(AnswerError, match="is not JSON"):
        StreamEvent(data).json()
