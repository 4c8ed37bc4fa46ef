"""The yardstick of streams: a plain aiohttp WebSocket that sends the same bytes, one task for each stream."""

import asyncio
import json
import os
from collections.abc import Iterator
from typing import Any

from aiohttp import WSMsgType, web

CHUNKS = int(os.environ["BENCH_CHUNKS"])
TOKEN = os.environ["BENCH_TOKEN"]
READY: dict[str, list[bytes]] = {}


async def readiness(request: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})


def frames(ids: dict[str, str]) -> Iterator[bytes]:
    for number in range(CHUNKS):
        chunk = {"type": "stream_chunk", **ids, "payload": {"n": number, "token": TOKEN}}
        yield json.dumps(chunk, separators=(",", ":")).encode()
    yield json.dumps({"type": "stream_end", **ids}, separators=(",", ":")).encode()


async def stream(websocket: web.WebSocketResponse, action: dict[str, Any]) -> None:
    ids = {name: action[name] for name in ("invocation_id", "session_id")}
    for frame in READY.get(action["invocation_id"]) or frames(ids):
        await websocket.send_frame(frame, WSMsgType.TEXT)


async def actions(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    tasks: set[asyncio.Task[None]] = set()
    async for message in websocket:
        action = json.loads(message.data)
        if os.environ.get("BENCH_READY") and action["invocation_id"] not in READY:
            ids = {name: action[name] for name in ("invocation_id", "session_id")}
            READY[action["invocation_id"]] = list(frames(ids))
        task = asyncio.create_task(stream(websocket, action))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    return websocket


app = web.Application()
app.add_routes([web.get("/readiness", readiness), web.get("/invocations_ws", actions)])
loop = None
if os.environ.get("BENCH_LOOP") == "uvloop":
    import uvloop

    loop = uvloop.new_event_loop()
web.run_app(app, port=int(os.environ["PORT"]), access_log=None, print=None, loop=loop)
