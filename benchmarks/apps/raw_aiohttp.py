"""The yardstick: a plain `web.Application`, as a user would write it without a framework."""

import asyncio
import json
import os
import sys

from aiohttp import WSMsgType, web

EVENTS = int(os.environ["BENCH_EVENTS"])
PAUSE = float(os.environ.get("BENCH_PAUSE", "0"))


async def readiness(request: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def events(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(EVENTS):
        data = json.dumps({"token": number})
        await response.write(f"data: {data}\n\n".encode())
    return response


async def paced_events(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for number in range(EVENTS):
        data = json.dumps({"token": number})
        await response.write(f"data: {data}\n\n".encode())
        await asyncio.sleep(PAUSE)
    return response


async def paced_websocket(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for _ in websocket:
        for number in range(EVENTS):
            await websocket.send_str(json.dumps({"token": number}))
            await asyncio.sleep(PAUSE)
    return websocket


async def paced_actions(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)

    async def answer(action: dict[str, str]) -> None:
        ids = {name: action[name] for name in ("invocation_id", "session_id")}
        for number in range(EVENTS):
            chunk = {"type": "stream_chunk", **ids, "payload": {"token": number}}
            await websocket.send_str(json.dumps(chunk))
            await asyncio.sleep(PAUSE)
        await websocket.send_str(json.dumps({"type": "stream_end", **ids}))

    running = set[asyncio.Task[None]]()
    async for message in websocket:
        task = asyncio.create_task(answer(json.loads(message.data)))
        running.add(task)
        task.add_done_callback(running.discard)
    return websocket


async def websocket_echo(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
    return websocket


async def actions(request: web.Request) -> web.WebSocketResponse:
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        action = json.loads(message.data)
        ids = {name: action[name] for name in ("invocation_id", "session_id")}
        await websocket.send_str(json.dumps({"type": "result", **ids, "payload": action["payload"]}))
    return websocket


WORK = {
    "http": web.post("/invocations", echo),
    "sse": web.post("/invocations", events),
    "ws": web.get("/invocations_ws", websocket_echo),
    "actions": web.get("/invocations_ws", actions),
    "sse_paced": web.post("/invocations", paced_events),
    "ws_paced": web.get("/invocations_ws", paced_websocket),
    "actions_paced": web.get("/invocations_ws", paced_actions),
}

app = web.Application(client_max_size=30_000_000)
app.add_routes([web.get("/readiness", readiness), WORK[sys.argv[1]]])
loop = None
if os.environ.get("BENCH_LOOP") == "uvloop":
    import uvloop

    loop = uvloop.new_event_loop()
web.run_app(app, port=int(os.environ["PORT"]), access_log=None, print=None, loop=loop)
