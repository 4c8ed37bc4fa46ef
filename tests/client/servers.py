"""Small servers that answer as the contract says, and as proxies on the way do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

__all__ = ["Flaky", "Handler", "Routes", "Scripted", "Serve", "Talk", "Talking", "echo", "never", "repeat"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]
Routes = Callable[..., Awaitable[str]]
Talk = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]
Talking = Callable[[Talk], Awaitable[str]]


async def echo(request: web.Request) -> web.Response:
    """Answer with what the request was."""
    return web.json_response(
        {
            "type": request.headers.get("Content-Type"),
            "body": (await request.read()).decode(),
            "query": dict(request.query),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "path": request.path,
        },
        headers={"x-agent-session-id": "s-1", "x-request-id": "r-1"},
    )


async def never(_request: web.Request) -> web.Response:
    """Do not answer."""
    await asyncio.Event().wait()
    return web.Response()


async def repeat(socket: web.WebSocketResponse, _request: web.Request) -> None:
    """Send every message back."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)


class Scripted:
    """Answers with one prepared status and ``Retry-After`` after the other; the last stays."""

    def __init__(self, *answers: tuple[int, str | None]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def answer(self, _request: web.Request) -> web.Response:
        status, retry_after = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return web.json_response({"status": "done"}, status=status, headers=headers)


class Flaky:
    """Fails a few times, then answers; keeps the ids that arrived."""

    def __init__(self, failures: int, *, status: int | None) -> None:
        self.failures = failures
        self.status = status
        self.ids: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.ids.append(request.headers.get("x-agent-invocation-id", ""))
        if len(self.ids) > self.failures:
            return web.json_response({"status": "completed"})
        if self.status is not None:
            return web.Response(status=self.status, headers={"Retry-After": "0"})
        assert request.transport is not None
        request.transport.abort()
        return web.Response()
