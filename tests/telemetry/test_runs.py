"""Spans and metrics of durable runs: of runs, attempts and steps, over the death of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from agentserver import Durable, InvocationHandler, Run
from agentserver.client import InvocationsClient
from agentserver.testing import AgentUnderTest, capture_spans, in_process
from tests.durable.agents import Gate
from tests.servers import ROOT
from tests.telemetry.conftest import PARENT_ID, TRACE_ID, TRACEPARENT, observing
from tests.telemetry.receiver import Received

ENVIRONMENT = {
    "AGENTSERVER_STORE": "memory",
    "AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS": "0.1",
    "FOUNDRY_AGENT_NAME": "weather",
    "FOUNDRY_AGENT_VERSION": "7",
}
GATE = Gate()


class Worker(InvocationHandler, durable=Durable(backoff=0.01, retries=1)):
    """Takes two steps, one of which fails once, and makes spans of its own."""

    async def run(self, task: dict[str, Any], run: Run) -> int:
        """Work."""
        tracer = trace.get_tracer("agent")
        failures = iter([RuntimeError("not yet")] if task.get("fails") else [])

        async def work() -> int:
            with tracer.start_as_current_span("thinking"):
                for error in failures:
                    raise error
                return 1

        await run.step("first", work)
        await run.emit("between")
        if "gate" in task:
            await run.step("gate", GATE.of(task["gate"]).wait)
        return 2


async def ended(agent: AgentUnderTest, name: str, body: Any) -> None:
    await agent.client.start(body, invocation_id=name, headers={"traceparent": TRACEPARENT})
    await agent.client.wait(name, interval=0.01)


def trace_of(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return trace.format_trace_id(context.trace_id)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_run_an_attempt_and_its_steps_are_spans_of_the_requests_trace() -> None:
    with capture_spans() as spans:
        async with in_process(Worker, environment=ENVIRONMENT) as agent:
            await ended(agent, "a", {"fails": True})
            run = await spans.named("run weather:7")
        post, attempt = await spans.named("invoke_agent weather:7"), await spans.named("attempt weather:7")
    assert post.parent is not None
    assert trace.format_span_id(post.parent.span_id) == PARENT_ID
    assert {trace_of(span) for span in (post, run, attempt)} == {TRACE_ID}
    assert {span.name for span in spans.children_of(post)} >= {"run weather:7", "attempt weather:7"}
    (step,) = (span for span in spans.children_of(attempt) if span.name == "step first")
    assert [span.name for span in spans.children_of(step)] == ["thinking", "thinking"]
    assert [event.name for event in step.events] == ["exception"]
    assert attributes(step)["agentserver.run.step.failures"] == 1
    told = attributes(run)
    assert (told["agentserver.run.status"], told["agentserver.run.attempt"]) == ("completed", 2)
    assert told["azure.ai.agentserver.invocations.invocation_id"] == "a"
    assert [link.context for link in run.links] == [attempt.get_span_context()]
    assert (run.start_time or 0) <= (attempt.start_time or 0)
    assert (run.end_time or 0) >= (step.end_time or 0)


async def test_attempts_are_linked_over_the_death_of_a_process(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "AGENTSERVER_STORE": str(tmp_path / "runs")}
    with capture_spans() as spans:
        gate = str(tmp_path)
        async with in_process(Worker, environment=environment) as agent:
            await agent.client.start({"gate": gate}, invocation_id="a", headers={"traceparent": TRACEPARENT})
            async for event in agent.client.events("a"):
                if event.event == "message":
                    break
        first = await spans.named("attempt weather:7")
        assert "agentserver.run.status" not in attributes(first)
        GATE.of(gate).set()
        async with in_process(Worker, environment=environment) as agent:
            await agent.client.wait("a", interval=0.01)
            run = await spans.named("run weather:7")
        second = next(span for span in reversed(list(spans)) if span.name == "attempt weather:7")
    assert attributes(second)["agentserver.run.recoveries"] == 1
    assert [link.context.span_id for link in second.links] == [_id(first)]
    assert [link.context.span_id for link in run.links] == [_id(first), _id(second)]
    assert {trace_of(span) for span in (first, second, run)} == {TRACE_ID}
    replayed = [span.name for span in spans.children_of(second)]
    assert replayed == ["step gate"]


def _id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def test_runs_are_counted_by_state_and_timed_by_how_they_ended(tmp_path: Path) -> None:
    store = str(tmp_path / "runs")
    async with observing(AGENT="durable", AGENTSERVER_STORE=store) as seen:
        async with InvocationsClient(seen.server.url) as client:
            await client.start({"number": "x"}, invocation_id="failed")
            await client.wait("failed", interval=0.01)
            session = client.session("s")
            for name in ("running", "waiting"):
                await session.start({"waits": True}, invocation_id=name)
            await seen.received.until(lambda got: now(got) == {"in_progress": 1, "queued": 1})
            await client.cancel("waiting")
            await seen.received.until(lambda got: now(got) == {"in_progress": 1, "queued": 0})
        seen.server.process.kill()
        await seen.server.process.wait()
        await seen.server.start()
        async with InvocationsClient(seen.server.url) as client:
            await client.signal("running", "go")
            await client.wait("running", interval=0.01)
        await seen.stop()
    ends = counted(seen.received, "agentserver.run.duration", "agentserver.run.status")
    assert ends == {"failed": 1, "cancelled": 1, "completed": 1}
    assert counted(seen.received, "agentserver.run.duration", "error.type")["step_failed"] == 1
    steps = counted(seen.received, "agentserver.run.step.duration", "error.type")
    assert steps == {"ValueError": 1, None: 1}
    assert counted(seen.received, "agentserver.run.recoveries", "") == {None: 1}
    assert counted(seen.received, "agentserver.run.event.lag", "")[None] >= 2


def now(received: Received) -> dict[Any, float]:
    """How many runs there are, by state, as was exported last."""
    points = received.metric("agentserver.run.active")
    return {point.attributes["agentserver.run.state"]: point.value for point in points}


def counted(received: Received, name: str, attribute: str) -> dict[Any, float]:
    """The newest count, or value, of each point of a metric, by one of its attributes."""
    points = received.metric(name)
    return {point.attributes.get(attribute): point.count or point.value for point in points}


def test_nothing_of_opentelemetry_is_loaded_for_runs_while_it_is_off() -> None:
    code = (
        "import asyncio, sys\nfrom tests.durable.agents import Worker\n"
        "from agentserver.testing import in_process\n"
        "async def main():\n"
        "    async with in_process(Worker, environment={'AGENTSERVER_STORE': 'memory'}) as agent:\n"
        "        name = (await agent.client.start({'steps': 2})).invocation_id\n"
        "        print((await agent.client.wait(name, interval=0.01)).run().status)\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["completed", "[]"]
