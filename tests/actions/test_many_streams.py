"""A thousand streams over fifty connections: every frame whole, and each stream in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from agentserver import ActionContext, InvocationActionHandler
from tests.servers import DEADLINE, serving

CONNECTIONS, STREAMS, CHUNKS = 50, 20, 15
all_are_here = asyncio.Event()


class Numbers(InvocationActionHandler):
    """Some streams never wait, some wait at every step."""

    running = 0
    at_once = 0

    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncIterator[Any]:
        Numbers.running += 1
        Numbers.at_once = max(Numbers.at_once, Numbers.running)
        await all_are_here.wait()
        for number in range(CHUNKS):
            if payload["waits"]:
                await asyncio.sleep(0)
            yield {"n": number, "of": context.invocation_id, "filling": "x" * (number * 97 % 500)}
        Numbers.running -= 1


async def converse(client: aiohttp.ClientSession, connection: int) -> None:
    async with client.ws_connect("/invocations_ws") as websocket:
        names = [f"{connection}.{number}" for number in range(STREAMS)]
        for number, name in enumerate(names):
            payload = {"waits": bool(number % 2)}
            await websocket.send_json({"action": "invoke", "invocation_id": name, "payload": payload})
        reached = dict.fromkeys(names, 0)
        while reached:
            frame = json.loads((await websocket.receive(timeout=DEADLINE)).data)
            name = frame["invocation_id"]
            if frame["type"] == "stream_end":
                assert reached.pop(name) == CHUNKS
                continue
            number = reached[name]
            assert frame["payload"] == {"n": number, "of": name, "filling": "x" * (number * 97 % 500)}
            reached[name] += 1


async def test_a_thousand_streams_over_fifty_connections_arrive_whole_and_in_order() -> None:
    async with serving(Numbers) as client:
        talks = [asyncio.create_task(converse(client, number)) for number in range(CONNECTIONS)]
        while Numbers.running < CONNECTIONS * STREAMS and not any(talk.done() for talk in talks):
            await asyncio.sleep(0.01)
        all_are_here.set()
        await asyncio.gather(*talks)
    assert Numbers.at_once == CONNECTIONS * STREAMS
