"""The WebSocket samples as real processes, asked by an independent client as their READMEs say."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.servers import ROOT, running

ANSWER = "You asked: How? And the answer takes a while to tell."
CONVERSATION = re.compile(r"```text\n(?P<lines>[<>] .*?)```", re.DOTALL)


@asynccontextmanager
async def sample(name: str) -> AsyncGenerator[ClientConnection, None]:
    """A connection to a sample, which must end without a traceback and with exit code 0."""
    async with running(ROOT / "samples" / name / "main.py") as server:
        async with connect(server.url.replace("http", "ws", 1) + "/invocations_ws", proxy=None) as client:
            yield client
        server.terminate()
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)


async def test_the_echo_answers_as_its_readme_says_and_bytes_as_bytes() -> None:
    readme = (ROOT / "samples/08_websocket_echo/README.md").read_text()
    found = CONVERSATION.search(readme)
    assert found is not None
    async with sample("08_websocket_echo") as client:
        for line in found["lines"].splitlines():
            if line.startswith("> "):
                await client.send(line[2:])
            else:
                assert await client.recv() == line[2:]
        await client.send(b"\x00\xff")
        assert await client.recv() == b"\x00\xff"


async def receive(client: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(await client.recv())
    return message


async def send(client: ClientConnection, **message: str) -> None:
    await client.send(json.dumps(message))


async def test_answers_stream_side_by_side_and_one_is_cancelled_in_mid_flight() -> None:
    async with sample("09_websocket_bidirectional") as client:
        assert await receive(client) == {"type": "ready"}
        await send(client, type="prompt", id="p1", text="Why?")
        await send(client, type="prompt", id="p2", text="How?")
        seen: dict[str, list[str]] = {"p1": [], "p2": []}
        while "done" not in seen["p2"]:
            message = await receive(client)
            seen[message["id"]].append(message.get("token", message["type"]))
            if seen["p1"] == ["You"] and message["id"] == "p1":
                await send(client, type="cancel", id="p1")
    assert seen["p2"] == [*ANSWER.split(), "done"]
    assert seen["p1"][-1] == "cancelled"
    assert len(seen["p1"]) < len(seen["p2"]) - 2


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"type": "prompt"}', '{"type": "dance"}'])
async def test_a_message_that_is_not_understood_is_answered_with_an_error(text: str) -> None:
    async with sample("09_websocket_bidirectional") as client:
        await receive(client)
        await client.send(text)
        assert (await receive(client))["type"] == "error"


async def test_bye_ends_the_conversation_with_1000_and_the_answers_with_it() -> None:
    async with sample("09_websocket_bidirectional") as client:
        await receive(client)
        await send(client, type="prompt", id="p1", text="Why?")
        await send(client, type="bye")
        async for message in client:
            assert json.loads(message)["type"] in {"token", "cancelled"}
        assert client.close_code == 1000


async def test_a_client_that_closes_while_answers_stream_leaves_nothing_behind() -> None:
    async with sample("09_websocket_bidirectional") as client:
        await receive(client)
        await send(client, type="prompt", id="p1", text="Why?")
        await receive(client)
        await client.close(4000)
        assert client.close_code == 4000
