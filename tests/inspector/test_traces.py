"""What the inspector sees of the agent's spans."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.inspector.inspected import Inspected, inspected
from tests.servers import DEADLINE

AGENT = Path(__file__).with_name("traced_agent.py")
NAMES = ["plan", "chat gpt", "execute_tool weather"]


async def trace_of(dev: Inspected, **facts: Any) -> dict[str, Any]:
    """Wait for a trace with these facts, and return all of it."""
    end = asyncio.get_running_loop().time() + DEADLINE
    while asyncio.get_running_loop().time() < end:
        found = [each for each in (await dev.known())["traces"] if facts.items() <= each.items()]
        if found:
            detail: dict[str, Any] = await dev.get(f"/api/traces/{found[-1]['id']}")
            return detail
        await asyncio.sleep(0.05)
    raise AssertionError(f"no trace with {facts}: {(await dev.known())['traces']}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_a_waterfall_is_right_to_a_millisecond_for_a_call_of_curl() -> None:
    async with inspected(agent=AGENT) as dev:
        process = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--data", "go", f"{dev.agent}/invocations"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        times: dict[str, list[int]] = json.loads(out)
        found = await trace_of(dev, spans=4, running=0)
        exchange = await dev.exchange(status=200, by="client")
        zero = (await dev.known())["clock"]["started_at"] * 1000 + found["at"]
    spans = {span["name"]: span for span in found["list"]}
    root = found["list"][0]
    assert root["kind"] == "server"
    parents = [spans[name]["parent"] for name in NAMES]
    assert parents == [root["span"], spans["plan"]["span"], spans["chat gpt"]["span"]]
    for name in NAMES:
        before, behind, before_end, behind_end = [nanoseconds / 1e6 for nanoseconds in times[name]]
        began = zero + spans[name]["at"]
        assert before - 1 <= began <= behind + 1, name
        assert before_end - 1 <= began + spans[name]["duration"] <= behind_end + 1, name
    assert spans["chat gpt"]["attributes"]["gen_ai.request.model"] == "gpt"
    # It stands on the same clock as the exchange, and knows its id.
    assert exchange["at"] - 1 < found["at"] < exchange["at"] + exchange["duration"]
    ids = [
        value for name, value in exchange["response"]["headers"] if name.lower() == "x-agent-invocation-id"
    ]
    assert ids == found["invocations"]


async def test_attributes_are_shown_whatever_they_are_the_long_ones_cut() -> None:
    async with inspected(agent=AGENT) as dev:
        for word, cut in (("odd", 3000), ("odder", 4096)):
            await dev.invoke(word)
            found = await trace_of(dev, spans=2, running=0)
            (span,) = [span for span in found["list"] if span["name"] == word]
            known = span["attributes"]
            assert (known["float"], known["truth"], str(known[word])) == (1.5, True, str(2**70))
            assert known["list"] in (["a", "b"], '["a", "b"]')
            assert known["long"] == "x" * cut
            await dev.post("/api/clear")


async def test_failed_and_running_spans_are_seen_and_those_that_a_kill_took() -> None:
    async with inspected(agent=AGENT) as dev:
        await dev.invoke("fail")
        failed = await trace_of(dev, failed=4)
        tool = next(span for span in failed["list"] if span["name"] == "execute_tool weather")
        assert tool["status"] == "error"
        assert tool["events"][0]["attributes"]["exception.message"] == "no <b>weather</b>"
        hanging = asyncio.create_task(dev.invoke("hang"))
        running = await trace_of(dev, running=3)
        assert running["duration"] is None
        assert [span["duration"] for span in running["list"]] == [None] * 3
        await dev.post("/api/agent", do="kill")
        await dev.agent_is("ended")
        lost = await trace_of(dev, id=running["id"], running=0)
        assert [span["lost"] for span in lost["list"]] == [True] * 3
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_the_newest_traces_are_kept_and_the_older_ones_counted() -> None:
    async with inspected(agent=Path(__file__).with_name("agent.py")) as dev:
        for _ in range(205):
            await dev.invoke("x")
        end = asyncio.get_running_loop().time() + DEADLINE
        while (known := await dev.known())[
            "traces_forgotten"
        ] < 5 and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        assert (len(known["traces"]), known["traces_forgotten"]) == (200, 5)
        await dev.post("/api/clear")
        assert (await dev.known())["traces"] == []
