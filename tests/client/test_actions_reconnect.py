"""Actions on a connection that breaks: nothing is sent twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import (
    ConnectionClosedError,
    InvocationsClient,
    Retry,
)


class Restarting:
    """A server whose connections go away after each invocation but the first; keeps what it saw."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.sessions: list[str | None] = []
        self.invoked: list[str] = []

    async def handler(self, request: web.Request) -> web.StreamResponse:
        self.sessions.append(request.query.get("agent_session_id"))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            frame = json.loads(message.data)
            self.invoked.append(frame["invocation_id"])
            if frame["invocation_id"].startswith("lost"):
                if self.code is not None:
                    await socket.close(code=self.code)
                else:
                    assert request.transport is not None
                    request.transport.abort()
                break
            ids = {"invocation_id": frame["invocation_id"], "session_id": frame["session_id"]}
            await socket.send_json({"type": "result", **ids, "payload": len(self.sessions)})
        return socket


Serve = Callable[[web.Application], Awaitable[TestServer]]


async def restarting(aiohttp_server: Serve, code: int | None) -> tuple[Restarting, str]:
    server, app = Restarting(code), web.Application()
    app.router.add_get("/invocations_ws/ws", server.handler)
    return server, str((await aiohttp_server(app)).make_url("/"))


@pytest.mark.parametrize("code", [None, 1001, 1012])
async def test_a_broken_connection_is_made_again_in_its_session_and_nothing_is_sent_twice(
    aiohttp_server: Serve, code: int | None
) -> None:
    server, url = await restarting(aiohttp_server, code)
    async with InvocationsClient(url) as client:
        async with client.actions(reconnect=Retry(first_delay=0)) as actions:
            assert (await actions.invoke({})).payload == 1
            with pytest.raises(ConnectionClosedError):
                await actions.invoke({}, invocation_id="lost")
            results = await asyncio.gather(*(actions.invoke({}) for _ in range(3)))
    assert [result.payload for result in results] == [2, 2, 2]
    assert len(set(server.sessions)) == 1
    assert server.sessions[0] is not None
    assert server.invoked.count("lost") == 1


@pytest.mark.parametrize(("code", "reconnect"), [(1012, None), (1011, Retry()), (4001, Retry())])
async def test_without_being_asked_or_after_a_close_that_was_meant_it_stays_broken(
    aiohttp_server: Serve, code: int, reconnect: Retry | None
) -> None:
    server, url = await restarting(aiohttp_server, code)
    async with InvocationsClient(url) as client, client.actions(reconnect=reconnect) as actions:
        for number in range(2):
            with pytest.raises(ConnectionClosedError) as caught:
                await actions.invoke({}, invocation_id=f"lost-{number}")
            assert caught.value.code == code
    assert server.invoked == ["lost-0"]


async def test_a_closed_connection_is_not_made_again(aiohttp_server: Serve) -> None:
    server, url = await restarting(aiohttp_server, 1012)
    async with InvocationsClient(url) as client:
        async with client.actions(reconnect=Retry(first_delay=0)) as actions:
            await actions.invoke({})
        with pytest.raises(ConnectionClosedError):
            await actions.invoke({})
    assert len(server.sessions) == 1
