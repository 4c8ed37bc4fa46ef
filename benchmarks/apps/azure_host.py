"""The Python library of Microsoft, as its README starts it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

from azure.ai.agentserver.invocations import InvocationAgentServerHost
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket

EVENTS = int(os.environ["BENCH_EVENTS"])
PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))


async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


async def stream() -> AsyncIterator[str]:
    for number in range(EVENTS):
        data = json.dumps({"token": number})
        yield f"data: {data}\n\n"


async def events(request: Request) -> Response:
    await request.body()
    return StreamingResponse(stream(), media_type="text/event-stream")


async def paced_stream() -> AsyncIterator[str]:
    for number in range(EVENTS):
        data = json.dumps({"token": number})
        yield f"data: {data}\n\n"
        await asyncio.sleep(PAUSE)


async def paced_events(request: Request) -> Response:
    await request.body()
    return StreamingResponse(paced_stream(), media_type="text/event-stream")


async def paced_websocket(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] == "websocket.receive":
        for number in range(EVENTS):
            await websocket.send_text(json.dumps({"token": number}))
            await asyncio.sleep(PAUSE)


async def websocket_echo(websocket: WebSocket) -> None:
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


app = InvocationAgentServerHost(log_level=os.environ.get("BENCH_LOG_LEVEL"))
if sys.argv[1].startswith("ws"):
    app.ws_handler({"ws": websocket_echo, "ws_paced": paced_websocket}[sys.argv[1]])
else:
    app.invoke_handler({"http": echo, "sse": events, "sse_paced": paced_events}[sys.argv[1]])
app.run()
