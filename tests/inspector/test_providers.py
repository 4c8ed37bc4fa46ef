"""Whose tracer provider the agent's spans are made with: the agent's own, wherever it has set it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.inspector.inspected import Inspected, inspected
from tests.inspector.test_traces import trace_of

AGENT = Path(__file__).with_name("providing_agent.py")


async def names_seen(dev: Inspected) -> list[str]:
    """The names of the spans of a call, as the inspector has them."""
    found = await trace_of(dev, spans=2, running=0)
    return [span["name"].split(" ")[0] for span in found["list"]]


@pytest.mark.parametrize(
    "how", ["in the module", "in a hook", "in an application of its own", "in an application"]
)
async def test_the_agents_own_provider_is_the_one_and_the_inspector_sees_its_spans(how: str) -> None:
    async with inspected(agent=AGENT, environment={"PROVIDER": how}) as dev:
        await dev.invoke("x")
        said = json.loads(await dev.invoke("x"))
        assert await names_seen(dev) == ["invoke_agent", "think"]
        names = {each["name"] for each in (await dev.known())["traces"]}
        problems = [line for line in dev.said if "verriding" in line]
    assert problems == []
    own = [name.split(" ")[0] for name in said["spans"]]
    warmed = ["warm"] if how in {"in the module", "in a hook"} else []
    assert own == ([] if how == "in an application" else [*warmed, "think", "invoke_agent", "think"])
    assert ("warm up" in names) == (how == "in the module")  # with the others it is not there yet


async def test_with_a_provider_of_another_kind_there_are_no_spans_and_nothing_else_is_missing() -> None:
    async with inspected(agent=AGENT, environment={"PROVIDER": "of another kind"}) as dev:
        assert json.loads(await dev.invoke("x"))["provider"] == "NoneOfTheSdks"
        await dev.exchange(status=200)
        assert (await dev.known())["traces"] == []
