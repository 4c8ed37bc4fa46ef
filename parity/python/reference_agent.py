"""The reference agent on the official Python package, azure-ai-agentserver-invocations.

``parity/reference-agent.md`` says what it does. It runs in an environment of its own; see ``make parity``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from azure.ai.agentserver.core import get_request_context
from azure.ai.agentserver.core.platform_headers import PLATFORM_ERROR_TAG
from azure.ai.agentserver.invocations import InvocationAgentServerHost
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

NOT_SUPPORTED = 64
TEXT = "text/plain; charset=utf-8"
OPENAPI = {"openapi": "3.0.3", "info": {"title": "reference-agent", "version": "1.0.0"}, "paths": {}}
ASYNCAPI = {"asyncapi": "3.0.0", "info": {"title": "reference-agent", "version": "1.0.0"}}
ASYNCAPI_YAML = "asyncapi: 3.0.0\ninfo:\n  title: reference-agent\n  version: 1.0.0\n"
STARTED: dict[str, str] = {}


def describe(
    invocation_id: str | None, session_id: str | None, headers: Headers, query: QueryParams
) -> dict[str, Any]:
    """The ``context`` answer; null where the library has no such value."""
    platform = get_request_context()
    return {
        "invocation_id": invocation_id,
        "session_id": session_id,
        "client_headers": {k.lower(): v for k, v in headers.items() if k.lower().startswith("x-client-")},
        "query": {name: query.getlist(name) for name in query},
        "user_isolation_key": None,
        "chat_isolation_key": None,
        "user_id": platform.user_id,
        "call_id": platform.call_id,
    }


# --- POST /invocations


async def read_message(request: Request) -> Mapping[str, Any]:
    """The body as the object that names an operation; anything else is to be echoed."""
    if request.headers.get("content-type") == "application/vnd.parity+json":
        document: Any = await request.json()
    else:
        try:
            document = json.loads(await request.body())
        except ValueError:
            document = None
    return document if isinstance(document, dict) else {"op": "echo_raw"}


async def pieces(request: Request, message: Mapping[str, Any], key: str, form: str) -> AsyncIterator[bytes]:
    """The chunks or events of a stream, with the pauses between them."""
    STARTED[request.state.invocation_id] = "running"
    try:
        for index, piece in enumerate(message[key]):
            if index:
                await asyncio.sleep(message.get("pause_ms", 0) / 1000)
            yield form.format(piece).encode()
    except (asyncio.CancelledError, GeneratorExit):
        STARTED[request.state.invocation_id] = "cancelled"
        raise


async def partial(message: Mapping[str, Any]) -> AsyncIterator[bytes]:
    """A stream that fails."""
    yield b"partial"
    raise RuntimeError(message["message"])


class PlatformFault(Exception):  # noqa: N818 - the peer shows the type's name on the wire
    """An error that the peer takes for the platform's."""


def fail(message: Mapping[str, Any]) -> None:
    """Raise what ``kind`` says."""
    if message["kind"] == "bad_request":
        raise HTTPException(400, message["message"])
    if message["kind"] == "http":
        raise HTTPException(message["status"], message["message"])
    if message["kind"] == "platform":
        error = PlatformFault(message["message"])
        setattr(error, PLATFORM_ERROR_TAG, True)
        raise error
    raise {"generic": RuntimeError, "argument": ValueError}[message["kind"]](message["message"])


async def hold(invocation_id: str, seconds: float) -> Response:
    """Wait, and remember how it ended."""
    STARTED[invocation_id] = "running"
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        STARTED[invocation_id] = "cancelled"
        raise
    return JSONResponse({"held": True})


CALLS = 0


async def invoke(request: Request) -> Response:  # noqa: PLR0911, C901 - one line for each operation
    """Do what the message's ``op`` says."""
    global CALLS  # noqa: PLW0603 - the peer knows functions, no handler objects: one lasts for all calls
    message = await read_message(request)
    CALLS += message.get("op") == "instance"
    invocation_id, session_id = request.state.invocation_id, request.state.session_id
    status, headers = message.get("status", 200), message.get("headers", {})
    match message.get("op"):
        case "context":
            return JSONResponse(describe(invocation_id, session_id, request.headers, request.query_params))
        case "text":
            return Response(message["text"], status, headers, TEXT)
        case "json":
            return JSONResponse(message["body"], status, headers)
        case "stream":
            return StreamingResponse(pieces(request, message, "chunks", "{}"), headers={"content-type": TEXT})
        case "sse":
            return StreamingResponse(
                pieces(request, message, "events", "data: {}\n\n"), media_type="text/event-stream"
            )
        case "raise":
            fail(message)
        case "raise_mid_stream":
            return StreamingResponse(partial(message), headers={"content-type": TEXT})
        case "sleep":
            await asyncio.sleep(message["ms"] / 1000)
            return JSONResponse({"slept": True})
        case "hold":
            return await hold(invocation_id, message["ms"] / 1000)
        case "start":
            STARTED[invocation_id] = "running"
            return JSONResponse(
                {"invocation_id": invocation_id, "status": "running"}, 202, {"Retry-After": "2"}
            )
        case "instance":
            return JSONResponse({"instance_calls": CALLS})
    content_type = request.headers.get("content-type", "application/octet-stream")
    return Response(await request.body(), headers={"content-type": content_type})


# --- GET and cancel


def answer_status(request: Request, *, cancelling: bool) -> Response:
    """The status of what was started."""
    invocation_id = request.state.invocation_id
    if invocation_id == "raise":
        raise RuntimeError("secret get detail")
    if invocation_id not in STARTED:
        return JSONResponse({"error": {"code": "not_found", "message": "unknown invocation"}}, 404)
    if cancelling:
        STARTED[invocation_id] = "cancelled"
    session_id = getattr(request.state, "session_id", None) or None
    return JSONResponse(
        {"invocation_id": invocation_id, "session_id": session_id, "status": STARTED[invocation_id]}
    )


async def get_invocation(request: Request) -> Response:
    """The status of what was started."""
    return answer_status(request, cancelling=False)


async def cancel_invocation(request: Request) -> Response:
    """Cancel what was started."""
    return answer_status(request, cancelling=True)


# --- WebSocket /invocations_ws


async def talk(websocket: WebSocket) -> None:
    """Talk until one side ends it; that the client did is raised, as every other way to receive does."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        if message.get("bytes") is not None:
            await websocket.send_bytes(message["bytes"])
        elif not await answer_text(websocket, message["text"]):
            return


async def answer_text(websocket: WebSocket, text: str) -> bool:
    """Do what *text* says; whether the conversation goes on."""
    command, _, argument = text.partition(":")
    match command:
        case "return":
            return False
        case "context" if not argument:
            state = websocket.state
            invocation_id = getattr(state, "invocation_id", None)
            session_id = getattr(state, "session_id", None)
            context = describe(invocation_id, session_id, websocket.headers, websocket.query_params)
            await websocket.send_text(json.dumps(context))
        case "stream" if argument.isdigit():
            for number in range(int(argument)):
                await websocket.send_text(str(number))
        case "close" if argument:
            code, _, reason = argument.partition(":")
            await websocket.close(int(code), reason)
            return False
        case "hold" if argument.isdigit():
            await asyncio.sleep(int(argument) / 1000)
        case "raise":
            errors = {"cancelled": asyncio.CancelledError, "timeout": asyncio.TimeoutError}
            raise errors.get(argument, RuntimeError)("boom")
        case _:
            await websocket.send_text(text)
    return True


# --- the shapes


def make(shape: str) -> InvocationAgentServerHost | None:
    """The host for a shape of the agent, ``None`` where the package has nothing of the kind."""
    documents: dict[str, Any] = {
        "full": {
            "openapi_spec": OPENAPI,
            "asyncapi_spec_json": ASYNCAPI,
            "asyncapi_spec_yaml": ASYNCAPI_YAML,
        },
        "one_document": {"asyncapi_spec_json": ASYNCAPI},
        "http_only": {},
        "ws_only": {},
    }
    if shape not in documents or "PARITY_PREFIX" in os.environ:
        return None
    host = InvocationAgentServerHost(**documents[shape])
    if shape != "ws_only":
        host.invoke_handler(invoke)
    if shape == "full":
        host.get_invocation_handler(get_invocation)
        host.cancel_invocation_handler(cancel_invocation)
    if shape in ("full", "ws_only"):
        host.ws_handler(talk)
    return host


if __name__ == "__main__":
    server = make(os.environ.get("PARITY_HANDLER", "full"))
    if server is None:
        print("this reference agent has no such handler", file=sys.stderr)
        sys.exit(NOT_SUPPORTED)
    server.run()
