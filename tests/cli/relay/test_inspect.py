"""``agentserver inspect``: the inspector's page for an agent on the platform."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.cli.process import clean_environment, cli
from tests.cli.relay.platform import TOKEN, install_identity, platform
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


async def test_tokens_are_renewed_and_what_is_refused_is_said_in_one_sentence(tmp_path: Path) -> None:
    install_identity(tmp_path)
    path = os.pathsep.join([str(tmp_path), clean_environment()["PYTHONPATH"]])
    environment = {"PYTHONPATH": path, "LIVES": "3600 1 3600"}
    async with (
        platform() as agent,
        inspected(agent=agent.agent, command="inspect", environment=environment) as dev,
    ):

        async def status(path: str = "/invocations") -> int:
            call = (await dev.post("/api/send", path=path, body="hello"))["call"]
            found = (await dev.exchange(call=call, end="complete"))["status"]
            assert isinstance(found, int)
            return found

        async def connect() -> str:
            call = (await dev.post("/api/connect", path="/invocations_ws"))["call"]
            answer = (await dev.exchange(call=call, end="complete"))["response"]
            return str(json.loads(answer["body"]["text"])["error"]["message"])

        assert [await status(), await status()] == [200, 200]  # with one token
        agent.taken = f"{TOKEN}-1"
        assert [await status(), await status()] == [401, 200]  # the next call has asked for another
        agent.taken = f"{TOKEN}-2"
        assert [await status(), await status()] == [200, 200]  # the second has ended, the third holds
        agent.is_forbidden = True
        assert await status() == 403
        assert "its owner needs a role" in await connect()
        agent.taken = "another"
        assert "if that is refused too, sign in again with 'az login'" in await connect()
        gone = await connect()
        assert gone.startswith(
            "The credential gave no token: RuntimeError: nobody has signed in: sign in with"
        )
        assert await status() == 502
        logs = [
            each["message"] for each in (await dev.known())["logs"] if each["logger"] == "agentserver.relay"
        ]
        heads = [message.split(":")[0] for message in logs]
        assert heads == [
            "The agent refused the token (401)",
            "The agent knows the token and refuses it (403)",
            "The credential gave no token",
        ]
        assert [line for line in dev.said if line.strip() in logs] == [f"{message}\n" for message in logs]
