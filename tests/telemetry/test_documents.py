"""The observability sample and the pages about telemetry do what they say."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import aiohttp

from agentserver._telemetry.attributes import AgentAttributes
from tests.documents import blocks
from tests.servers import ROOT, free_port, running
from tests.telemetry.conftest import observing

SAMPLE = ROOT / "samples" / "11_observability"
DOCUMENT = "docs/telemetry.md"


def normal(text: str) -> list[str]:
    """The lines of *text* without what differs from run to run, and without the name of the trace."""
    text = re.sub(r" +[0-9.]+ ms", " N ms", text)
    return [re.sub(r"\b[0-9a-f]{8}([0-9a-f]{24})?\b", "ID", line) for line in text.splitlines() if line]


async def test_the_sample_prints_the_trace_that_its_readme_shows() -> None:
    readme = (SAMPLE / "README.md").read_text()
    printed_blocks = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)[1:]
    shown = [line for block in printed_blocks for line in normal(block)]
    (start,) = re.findall(r"^(OTEL_.*?)make run ", readme, re.DOTALL | re.MULTILINE)
    variables = dict(word.split("=", 1) for word in shlex.split(start.replace("\\\n", "")))
    port = free_port()
    endpoint = variables["OTEL_EXPORTER_OTLP_ENDPOINT"]
    variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint.replace("4318", str(port))
    async with running(SAMPLE / "collector.py", str(port), port=port) as collector:
        async with running(SAMPLE / "main.py", environment=variables) as agent:
            async with aiohttp.ClientSession(agent.url) as client:
                async with client.post("/invocations", data="Rome") as response:
                    assert f"```text\n{await response.text()}```" in readme
            agent.terminate()
            assert await agent.exit_code() == 0

        async def printed() -> None:
            while not set(shown) <= set(normal("".join(collector.output))):
                await asyncio.sleep(0.02)

        await asyncio.wait_for(printed(), 20)
    tree = [line for line in normal("".join(collector.output)) if " N ms" in line]
    assert tree == [line for line in shown if " N ms" in line]


async def test_every_metric_that_is_exported_is_in_the_documentation() -> None:
    document = (ROOT / DOCUMENT).read_text()
    async with observing(AGENT="actions") as seen:
        async with seen.client.ws_connect("/invocations_ws") as websocket:
            await websocket.send_json({"action": "invoke", "payload": {"fail": 1}})
            while (await websocket.receive_json())["type"] != "error":
                pass
        await seen.stop()
    names = {point.name for point in seen.received.points}
    assert "agentserver.action.duration" in names
    assert not [name for name in names if f"`{name}`" not in document]


def test_every_attribute_of_the_frameworks_spans_is_in_the_documentation() -> None:
    document = (ROOT / DOCUMENT).read_text()
    source = Path(AgentAttributes.__module__.replace(".", "/") + ".py")
    named = re.findall(r'"((?:gen_ai|microsoft|service|http|error)\.[a-z_.]+)"', (ROOT / source).read_text())
    assert len(named) > 8
    assert not [name for name in named if f"`{name}`" not in document]


async def test_the_python_of_the_page_runs_and_its_spans_arrive(tmp_path: Path) -> None:
    programs = [b for b in blocks(DOCUMENT) if b.language == "python" and b.name]
    assert programs
    for program in programs:
        (tmp_path / program.name).write_text(program.text)
        async with observing(program=tmp_path / program.name) as seen:
            status, _ = await seen.invoke("hello")
            assert status == 200
            await seen.received.span("invoke_agent weather:7")
            child = await seen.received.span("think")
            assert child.parent_id
