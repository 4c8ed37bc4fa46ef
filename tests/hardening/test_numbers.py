"""Numbers of thousands of digits, which Python refuses to read, from either side."""

from __future__ import annotations

from agentserver.client.sse import EventParser


def test_an_event_that_asks_for_an_endless_wait_is_read_without_it() -> None:
    parser = EventParser()
    (event,) = parser.feed(b"retry: " + b"9" * 5000 + b"\ndata: x\n\n")
    assert (event.data, event.retry) == ("x", None)
