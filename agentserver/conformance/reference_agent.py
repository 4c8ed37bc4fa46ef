"""The reference agent on this framework's public API: ``parity/reference-agent.md`` says what it does.

``PARITY_HANDLER`` chooses the shape, ``PORT`` the port, ``PARITY_PREFIX`` a prefix before all routes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from aiohttp import WSMsgType, web

from agentserver import (
    AgentHostBuilder,
    BadRequestError,
    FoundryEnvironment,
    InvocationContext,
    InvocationHandler,
    InvocationsServer,
    InvocationWebSocketHandler,
    PlatformError,
    ServerSentEvent,
    map_invocations_server,
)
from agentserver.conformance.reference_actions import Actions, ActionsFull, ActionsPing, ActionsStream

NOT_SUPPORTED = 64
_OPENAPI = {"openapi": "3.0.3", "info": {"title": "reference-agent", "version": "1.0.0"}, "paths": {}}
_ASYNCAPI = {"asyncapi": "3.0.0", "info": {"title": "reference-agent", "version": "1.0.0"}}
_ASYNCAPI_YAML = "asyncapi: 3.0.0\ninfo:\n  title: reference-agent\n  version: 1.0.0\n"
_HTTP_ERRORS: dict[Any, Callable[[str], Exception]] = {
    409: lambda text: web.HTTPConflict(text=text),
    503: lambda text: web.HTTPServiceUnavailable(text=text),
}
_STARTED: dict[str, str] = {}

Request = web.Request
Response = web.StreamResponse
Message = Mapping[str, Any]


def _context(context: InvocationContext) -> dict[str, Any]:
    query = context.query_parameters
    return {
        "invocation_id": context.invocation_id,
        "session_id": context.session_id,
        "client_headers": {name.lower(): value for name, value in context.client_headers.items()},
        "query": {name: query.getall(name) for name in query},
        "user_isolation_key": context.isolation.user_isolation_key,
        "chat_isolation_key": context.isolation.chat_isolation_key,
        "user_id": context.platform.user_id,
        "call_id": context.platform.call_id,
    }


# --- POST /invocations


async def _message(request: Request) -> Message:
    """The body as the object that names an operation; anything else is to be echoed."""
    if request.content_type == "application/vnd.parity+json":
        document: Any = await request.json()
    else:
        try:
            document = json.loads(await request.read())
        except ValueError:
            document = None
    return document if isinstance(document, dict) else {"op": "echo_raw"}  # pyright: ignore[reportUnknownVariableType] - JSON


async def _echo_raw(request: Request, context: InvocationContext, message: Message) -> Response:
    del context, message
    content_type = request.headers.get("Content-Type", "application/octet-stream")
    return web.Response(body=await request.read(), headers={"Content-Type": content_type})


async def _show_context(request: Request, context: InvocationContext, message: Message) -> Response:
    del request, message
    return web.json_response(_context(context))


async def _text(request: Request, context: InvocationContext, message: Message) -> Response:
    del request, context
    headers = {"Content-Type": "text/plain; charset=utf-8", **message.get("headers", {})}
    return web.Response(body=message["text"].encode(), status=message.get("status", 200), headers=headers)


async def _json(request: Request, context: InvocationContext, message: Message) -> Response:
    del request, context
    return web.json_response(
        message["body"], status=message.get("status", 200), headers=message.get("headers", {})
    )


async def _stream(request: Request, context: InvocationContext, message: Message) -> Response:
    del context
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    for index, chunk in enumerate(message["chunks"]):
        if index:
            await asyncio.sleep(message.get("pause_ms", 0) / 1000)
        await response.write(chunk.encode())
    return response


async def _raise(request: Request, context: InvocationContext, message: Message) -> Response:
    del request, context
    kinds: dict[str, Callable[[str], Exception]] = {
        "generic": RuntimeError,
        "argument": ValueError,
        "bad_request": BadRequestError,
        "platform": PlatformError,
        "http": _HTTP_ERRORS.get(message.get("status"), RuntimeError),
    }
    raise kinds[message["kind"]](message["message"])


async def _raise_mid_stream(request: Request, context: InvocationContext, message: Message) -> Response:
    del context
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    await response.write(b"partial")
    raise RuntimeError(message["message"])


async def _sleep(request: Request, context: InvocationContext, message: Message) -> Response:
    del request, context
    await asyncio.sleep(message["ms"] / 1000)
    return web.json_response({"slept": True})


async def _hold(request: Request, context: InvocationContext, message: Message) -> Response:
    del request
    _STARTED[context.invocation_id] = "running"
    try:
        await asyncio.sleep(message["ms"] / 1000)
    except asyncio.CancelledError:
        _STARTED[context.invocation_id] = "cancelled"
        raise
    return web.json_response({"held": True})


async def _start(request: Request, context: InvocationContext, message: Message) -> Response:
    del request, message
    _STARTED[context.invocation_id] = "running"
    body = {"invocation_id": context.invocation_id, "status": "running"}
    return web.json_response(body, status=202, headers={"Retry-After": "2"})


_Operation = Callable[[Request, InvocationContext, Message], Awaitable[Response]]
_OPERATIONS: dict[str, _Operation] = {
    "echo_raw": _echo_raw,
    "context": _show_context,
    "text": _text,
    "json": _json,
    "stream": _stream,
    "raise": _raise,
    "raise_mid_stream": _raise_mid_stream,
    "sleep": _sleep,
    "hold": _hold,
    "start": _start,
}


async def _events(context: InvocationContext, message: Message) -> AsyncIterator[ServerSentEvent]:
    _STARTED[context.invocation_id] = "running"
    try:
        for index, event in enumerate(message["events"]):
            if index:
                await asyncio.sleep(message.get("pause_ms", 0) / 1000)
            yield ServerSentEvent(event)
    except (asyncio.CancelledError, GeneratorExit):
        _STARTED[context.invocation_id] = "cancelled"
        raise


class _Invoking(InvocationHandler):
    """What the shapes that override the invoke have in common."""

    def __init__(self) -> None:
        self._calls = 0

    async def handle(self, request: Request, context: InvocationContext) -> Any:
        """Do what the message's ``op`` says."""
        self._calls += 1
        message = await _message(request)
        match message.get("op"):
            case "instance":
                return {"instance_calls": self._calls}
            case "sse":
                return _events(context, message)
            case op:
                return await _OPERATIONS.get(str(op), _echo_raw)(request, context, message)


# --- GET and cancel


def _known(invocation_id: str) -> None:
    if invocation_id == "raise":
        raise RuntimeError("secret get detail")


def _status(invocation_id: str, context: InvocationContext) -> Response:
    if invocation_id not in _STARTED:
        body = {"error": {"code": "not_found", "message": "unknown invocation"}}
        return web.json_response(body, status=404)
    return web.json_response(
        {
            "invocation_id": invocation_id,
            "session_id": context.session_id,
            "status": _STARTED[invocation_id],
        }
    )


# --- WebSocket /invocations_ws


async def _talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
    async for message in websocket:
        if message.type is WSMsgType.BINARY:
            await websocket.send_bytes(message.data)
        elif message.data == "return" or not await _answer_text(websocket, context, message.data):
            return


async def _answer_text(websocket: web.WebSocketResponse, context: InvocationContext, text: str) -> bool:
    """Do what *text* says; whether the conversation goes on."""
    command, _, argument = text.partition(":")
    match command:
        case "context" if not argument:
            await websocket.send_json(_context(context))
        case "stream" if argument.isdigit():
            for number in range(int(argument)):
                await websocket.send_str(str(number))
        case "close" if argument:
            code, _, reason = argument.partition(":")
            await websocket.close(code=int(code), message=reason.encode())
            return False
        case "hold" if argument.isdigit():
            await asyncio.sleep(int(argument) / 1000)
        case "raise":
            errors = {"cancelled": asyncio.CancelledError, "timeout": asyncio.TimeoutError}
            raise errors.get(argument, RuntimeError)("boom")
        case _:
            await websocket.send_str(text)
    return True


# --- the shapes


class HttpOnly(_Invoking):
    """Overrides nothing but the invoke."""


class OneDocument(_Invoking):
    """Has one of the two AsyncAPI documents."""

    async def get_asyncapi_json(self, request: Request) -> Any:
        """The document."""
        return _ASYNCAPI


class WebSocketOnly(InvocationWebSocketHandler):
    """Overrides nothing but the WebSocket."""

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Talk until one side ends it."""
        await _talk(websocket, context)


class Full(_Invoking, InvocationWebSocketHandler):
    """Overrides everything."""

    async def get(self, invocation_id: str, request: Request, context: InvocationContext) -> Response:
        """The status of what was started."""
        _known(invocation_id)
        return _status(invocation_id, context)

    async def cancel(self, invocation_id: str, request: Request, context: InvocationContext) -> Response:
        """Cancel what was started."""
        _known(invocation_id)
        if invocation_id in _STARTED:
            _STARTED[invocation_id] = "cancelled"
        return _status(invocation_id, context)

    async def get_openapi(self, request: Request) -> Any:
        """The document."""
        return _OPENAPI

    async def get_asyncapi_json(self, request: Request) -> Any:
        """The document as JSON."""
        return _ASYNCAPI

    async def get_asyncapi_yaml(self, request: Request) -> str:
        """The document as YAML."""
        return _ASYNCAPI_YAML

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Talk until one side ends it."""
        await _talk(websocket, context)


async def _failing() -> bool:
    return False


def _unhealthy(builder: AgentHostBuilder) -> None:
    builder.configure_health(lambda health: health.add_check("reference-check", _failing))


_HANDLERS: dict[str, type[InvocationHandler]] = {
    "full": Full,
    "http_only": HttpOnly,
    "ws_only": WebSocketOnly,
    "one_document": OneDocument,
    "unhealthy": HttpOnly,
    "actions": Actions,
    "actions_stream": ActionsStream,
    "actions_full": ActionsFull,
    "actions_ping": ActionsPing,
}


def main() -> None:
    """Serve the shape that ``PARITY_HANDLER`` names; exit code 64 where there is none of that name."""
    shape = os.environ.get("PARITY_HANDLER", "full")
    handler = _HANDLERS.get(shape)
    prefix = os.environ.get("PARITY_PREFIX", "")
    if handler is None:
        print(f"this reference agent has no handler {shape!r}", file=sys.stderr)
        sys.exit(NOT_SUPPORTED)
    if prefix:
        logging.basicConfig(level=logging.INFO)
        app = web.Application()
        map_invocations_server(app, handler, prefix=prefix)
        web.run_app(app, port=FoundryEnvironment.read().port, print=None, handler_cancellation=True)
    else:
        InvocationsServer.run(handler, configure=_unhealthy if shape == "unhealthy" else None)


if __name__ == "__main__":
    main()
