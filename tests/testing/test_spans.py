"""Captured spans, in a process of their own: the tracer provider is set once and for all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT
from tests.warm_start import warm_starts

HANDLER = """
from opentelemetry import trace
from agentserver import InvocationHandler

tracer = trace.get_tracer("mine")  # before there is a provider, as a module does

class Traced(InvocationHandler):
    async def handle(self, request, context):
        with tracer.start_as_current_span("outer"):
            with tracer.start_as_current_span("inner"):
                return "ok"
"""

TESTS = """
import pytest
from opentelemetry import trace
from agentserver.testing import capture_spans, fake_environment
from handler import Traced, tracer

async def test_the_handlers_spans_and_the_frameworks_are_captured(agent_in_process, captured_spans):
    agent = await agent_in_process(Traced, environment=fake_environment(FOUNDRY_AGENT_NAME="bee"))
    await agent.client.invoke(invocation_id="inv-1")
    invocation = await captured_spans.named("invoke_agent bee:1")
    assert invocation.attributes["gen_ai.response.id"] == "inv-1"
    (outer,) = captured_spans.children_of(invocation)
    assert (outer.name, [span.name for span in captured_spans.children_of(outer)]) == ("outer", ["inner"])
    assert captured_spans.names == ["inner", "outer", "invoke_agent bee:1"]

async def test_a_callers_span_is_the_parent(agent_in_process, captured_spans):
    agent = await agent_in_process(Traced)
    with tracer.start_as_current_span("caller"):
        await agent.client.invoke()
    caller = await captured_spans.named("caller")
    assert [span.name for span in captured_spans.children_of(caller)] == ["invoke_agent"]

async def test_nothing_of_an_earlier_test_is_left(captured_spans):
    assert len(captured_spans) == 0
    with pytest.raises(AssertionError, match="the end of a span 'never' did not come about"):
        await captured_spans.named("never", timeout=0.05)

async def test_captures_are_apart():
    with capture_spans() as first:
        with capture_spans() as second:
            tracer.start_span("both").end()
        tracer.start_span("one").end()
    tracer.start_span("none").end()
    assert (first.names, second.names) == (["both", "one"], ["both"])
    assert [span.name for span in first] == ["both", "one"]
"""


def run(directory: Path, *arguments: str) -> str:
    """Run pytest in *directory*, and return what it prints."""
    plugins = ("-p", "pytest_asyncio.plugin", "-p", "agentserver.testing.plugin", "-p", "no:cacheprovider")
    with warm_starts():
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *plugins, "-o", "asyncio_mode=auto", *arguments],
            cwd=directory,
            env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    return result.stdout + result.stderr


def test_spans_are_captured_test_by_test(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    (tmp_path / "handler.py").write_text(HANDLER)
    (tmp_path / "test_it.py").write_text(TESTS)
    output = run(tmp_path)
    assert "4 passed" in output, output


def test_without_the_sdk_the_fixture_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['opentelemetry.sdk.trace'] = None\n")
    (tmp_path / "test_it.py").write_text("def test_it(captured_spans):\n    pass\n")
    output = run(tmp_path)
    assert "agentserver-invocations[telemetry]" in output, output


def test_a_provider_of_another_kind_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "from opentelemetry import trace\n"
        "from agentserver.testing import capture_spans\n"
        "def test_it():\n"
        "    trace.set_tracer_provider(trace.NoOpTracerProvider())\n"
        "    with pytest.raises(RuntimeError, match='captured from a NoOpTracerProvider'):\n"
        "        with capture_spans():\n"
        "            pass\n"
    )
    output = run(tmp_path)
    assert "1 passed" in output, output
