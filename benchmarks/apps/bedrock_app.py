"""The AgentCore runtime of AWS, as its README starts it. It speaks JSON alone, on paths of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from bedrock_agentcore import BedrockAgentCoreApp
from starlette.websockets import WebSocket

EVENTS = int(os.environ["BENCH_EVENTS"])
PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))


async def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


async def events(payload: dict[str, Any]) -> AsyncIterator[dict[str, int]]:
    for number in range(EVENTS):
        yield {"token": number}


async def paced_events(payload: dict[str, Any]) -> AsyncIterator[dict[str, int]]:
    for number in range(EVENTS):
        yield {"token": number}
        await asyncio.sleep(PAUSE)


async def paced_websocket(websocket: WebSocket, context: object) -> None:
    await websocket.accept()
    while (await websocket.receive())["type"] == "websocket.receive":
        for number in range(EVENTS):
            await websocket.send_text(json.dumps({"token": number}))
            await asyncio.sleep(PAUSE)


async def websocket_echo(websocket: WebSocket, context: object) -> None:
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


app = BedrockAgentCoreApp()
if sys.argv[1].startswith("ws"):
    app.websocket({"ws": websocket_echo, "ws_paced": paced_websocket}[sys.argv[1]])
else:
    app.entrypoint({"http": echo, "sse": events, "sse_paced": paced_events}[sys.argv[1]])
app.run(port=int(os.environ["PORT"]))
