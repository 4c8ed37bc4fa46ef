"""The spans of frameworks that make none themselves."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.trace import StatusCode

from agentserver.integrations._span_tree import SpanTree
from agentserver.integrations._tracing import is_traced
from agentserver.testing import capture_spans


def test_spans_hang_below_the_request_and_each_other() -> None:
    with capture_spans() as spans:
        assert is_traced()
        with trace.get_tracer("test").start_as_current_span("request") as request:
            tree = SpanTree("somebody's")
            tree.begin(1, "invoke_agent", "a", {"n": 1, "empty": ""})
            tree.begin(2, "chat", "", {}, parent=1)
            tree.end(2, attributes={"tokens": 3})
            tree.end(1)
            tree.end(1)
        inner, outer, _ = spans
        assert [inner.name, outer.name] == ["chat", "invoke_agent a"]
        assert spans.children_of(outer) == [inner]
        assert outer.parent == request.get_span_context()
        told = {
            "gen_ai.operation.name": "invoke_agent",
            "agentserver.framework": "somebody's",
            "n": 1,
        }
        assert outer.attributes is not None
        assert told.items() <= outer.attributes.items()  # beside who the agent is, if a host says so
        assert "empty" not in outer.attributes
        assert (inner.attributes or {})["tokens"] == 3


def test_a_run_that_ends_in_the_middle_ends_its_spans_with_what_went_wrong() -> None:
    with capture_spans() as spans:
        for error in (ValueError("x"), None, GeneratorExit()):
            tree = SpanTree("x")
            tree.begin(1, "chat", "m", {})
            tree.close(error)
        statuses = [span.status.status_code for span in spans]
    assert statuses == [StatusCode.ERROR, StatusCode.UNSET, StatusCode.UNSET]
