"""``invoke`` and ``connect`` with an agent that says what it takes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from agentserver import InvocationContext, InvocationHandler
from agentserver.cli.commands.invoke import complete_body
from agentserver.cli.documents import action_schema, message_schema
from agentserver.cli.json_completion import complete_json
from agentserver.cli.parser import build
from agentserver.testing import on_socket
from tests.cli.process import cli
from tests.servers import free_port
from tests.typed.kinds import Chat
from tests.typed.test_actions import Counter
from tests.typed.test_websockets import Talk


async def test_a_body_that_does_not_fit_is_not_sent(tmp_path: Path) -> None:
    async with on_socket(Chat) as agent:
        done = await cli("invoke", '{"message": 5}', "--url", agent.url)
        assert done.code == 2
        assert done.sentence == (
            "The agent does not take that: message: expected a string, got a whole number;"
            " --no-check sends it all the same"
        )
        done = await cli("invoke", '{"message": 5}', "--no-check", "--url", agent.url)
        assert done.code == 6
        assert "400 invalid_request: message: expected a string" in done.sentence
        done = await cli("invoke", '{"message": "hi"}', "--url", agent.url)
        assert (done.code, done.out) == (0, 'delta: {"text":"hi"}\ndone: {"tokens":12}\n')
        path = tmp_path / "body.json"
        path.write_text('{"message": "hi", "language": "it"}')
        done = await cli("invoke", "--file", str(path), "--url", agent.url)
        assert (done.code, done.sentence.split(";")[0]) == (
            2,
            "The agent does not take that: language is none of the allowed values",
        )


@pytest.mark.parametrize("document", ["[]", "no JSON", '{"paths": {"/invocations": 5}}'])
async def test_a_document_that_makes_no_sense_holds_nobody_up(document: str) -> None:
    class Agent(InvocationHandler):
        async def get_openapi(self, request: Any) -> str:
            return document

        async def handle(self, request: Any, context: InvocationContext) -> str:
            return "taken"

    async with on_socket(Agent) as agent:
        done = await cli("invoke", '{"a": 1}', "--url", agent.url)
        assert (done.code, done.out.strip()) == (0, "taken")


async def test_tab_completes_a_body_by_the_document_of_the_running_agent() -> None:
    async with on_socket(Chat) as agent:
        arguments = build().parse_args(["invoke", "--url", agent.url])
        assert await asyncio.to_thread(complete_body, '{"mess', arguments) == ['{"message": ']
        whole = await asyncio.to_thread(complete_body, "", arguments)
        assert json.loads(whole[0]) == {"message": "Hello"}
    arguments = build().parse_args(["invoke", "--url", f"http://127.0.0.1:{free_port()}"])
    assert await asyncio.to_thread(complete_body, "{", arguments) == []


async def test_the_consoles_complete_messages_and_payloads() -> None:
    async with on_socket(Talk) as agent:
        schema = await message_schema(agent.client)
        assert schema is not None
        assert complete_json('{"type": ', schema)[1] == ['"hello"', '"number"']
        assert complete_json('{"type": "number", ', schema)[1] == ['"value": ']
        assert await action_schema(agent.client) is None
    async with on_socket(Counter) as agent:
        schema = await action_schema(agent.client)
        assert schema is not None
        assert complete_json("", schema)[1] == ['{"to": 3}', "{"]
    async with on_socket(Chat) as agent:
        assert await message_schema(agent.client) is None
