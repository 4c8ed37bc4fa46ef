"""Starlette on uvicorn with uvloop and httptools, access log off."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

EVENTS = int(os.environ["BENCH_EVENTS"])
PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))


async def readiness(request: Request) -> Response:
    return JSONResponse({"status": "healthy"})


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
    await websocket.accept()
    while (await websocket.receive())["type"] == "websocket.receive":
        for number in range(EVENTS):
            await websocket.send_text(json.dumps({"token": number}))
            await asyncio.sleep(PAUSE)


async def websocket_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


WORK = {
    "http": Route("/invocations", echo, methods=["POST"]),
    "sse": Route("/invocations", events, methods=["POST"]),
    "ws": WebSocketRoute("/invocations_ws", websocket_echo),
    "sse_paced": Route("/invocations", paced_events, methods=["POST"]),
    "ws_paced": WebSocketRoute("/invocations_ws", paced_websocket),
}

app = Starlette(routes=[Route("/readiness", readiness), WORK[sys.argv[1]]])
uvicorn.run(app, host="0.0.0.0", port=int(os.environ["PORT"]), log_level="warning", access_log=False)
