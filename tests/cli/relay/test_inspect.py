"""``agentserver inspect``: the inspector's page for an agent on the platform."""

from __future__ import annotations

import json

from tests.cli.process import cli
from tests.cli.relay.platform import TOKEN, platform
from tests.inspector.inspected import inspected


async def test_an_agent_on_the_platform_is_driven_and_seen_without_its_token() -> None:
    async with (
        platform() as agent,
        inspected(agent=agent.agent, command="inspect", environment={"AGENTSERVER_TOKEN": TOKEN}) as dev,
    ):
        call = (await dev.post("/api/send", path="/invocations", body="events"))["call"]
        found = await dev.exchange(call=call, end="complete")
        assert [part["text"] for part in found["list"] if part["kind"] == "event"] == ["0", "1", "2"]
        call = (await dev.post("/api/connect", path="/invocations_ws"))["call"]
        await dev.exchange(call=call, status=101)
        await dev.post("/api/say", call=call, data="close 4001 bye")
        found = await dev.exchange(call=call, end="closed")
        assert found["closed"] == {"by": "agent", "code": 4001, "reason": "bye"}
        assert await dev.invoke("hello") == b"hello"  # what curl does is seen too
        await dev.exchange(by="client", status=200)
        async with dev.session.post(
            f"{dev.agent}/invocations", headers={"Origin": "http://evil.test"}
        ) as answer:
            assert answer.status == 403
        everything = [
            await dev.known(),
            await dev.get("/api/export"),
            await dev.get("/api/environment"),
            dev.said,
        ]
        assert TOKEN not in json.dumps(everything)
        await dev.post("/api/agent", do="kill")
        await dev.agent_is("ended")
        await dev.post("/api/agent", do="reload")
        await dev.agent_is("running", life=2)
        assert await dev.invoke("again") == b"again"


async def test_it_does_not_start_hosted_or_without_a_token() -> None:
    url = "https://x.services.ai.azure.com/api/projects/p/agents/a"
    assert (await cli("inspect", url)).code == 5
    hosted = {"FOUNDRY_HOSTING_ENVIRONMENT": "production", "AGENTSERVER_TOKEN": TOKEN}
    assert "for a developer's machine" in (await cli("inspect", url, env=hosted)).sentence
