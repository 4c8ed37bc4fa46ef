"""Servers that the client's tests start; each fixture returns what starts one and says its address."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.client.servers import Handler, Routes, Serve, Talk, Talking

Start = Callable[[web.Application], Awaitable[TestServer]]


@pytest.fixture
def serve(aiohttp_server: Start) -> Serve:
    """Answers every request with one handler."""

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        return str((await aiohttp_server(app)).make_url("/"))

    return start


@pytest.fixture
def routes(aiohttp_server: Start) -> Routes:
    """Has the contract's routes, with one handler for POST and one for GET."""

    async def start(*, post: Handler | None = None, get: Handler | None = None, prefix: str = "") -> str:
        app = web.Application()
        if post is not None:
            app.router.add_post(prefix + "/invocations", post)
            app.router.add_post(prefix + "/invocations/{id}/cancel", post)
        if get is not None:
            app.router.add_get(prefix + "/invocations/{id}", get)
            app.router.add_get(prefix + "/readiness", get)
        return str((await aiohttp_server(app)).make_url(prefix or "/"))

    return start


@pytest.fixture
def talking(aiohttp_server: Start) -> Talking:
    """Upgrades, names the session, and leaves the WebSocket to one function."""

    async def start(talk: Talk) -> str:
        async def handler(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse(max_msg_size=0)
            session = request.query.get("agent_session_id") or str(uuid.uuid4())
            socket.headers["x-agent-session-id"] = session
            await socket.prepare(request)
            await talk(socket, request)
            return socket

        app = web.Application()
        app.router.add_get("/invocations_ws", handler)
        return str((await aiohttp_server(app)).make_url("/"))

    return start
