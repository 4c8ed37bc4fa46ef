"""WebSocket conversations, step by step."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from agentserver.client import InvocationsClient
from agentserver.testing import Close, Conversation, until

Open = Callable[[], "AbstractAsyncContextManager[Conversation]"]


@pytest.fixture
def ends() -> list[int | None]:
    """The close codes that the server saw."""
    return []


@pytest.fixture
def opened(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], ends: list[int | None]
) -> Open:
    async def parrot(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        socket.headers["x-agent-session-id"] = "s-1"
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.data == "bye":
                    await socket.close(code=4001, message=b"as you wish")
                elif message.type is WSMsgType.TEXT:
                    await socket.send_str(message.data)
                else:
                    await socket.send_bytes(message.data)
        finally:
            ends.append(socket.close_code)
        return socket

    @asynccontextmanager
    async def start() -> AsyncGenerator[Conversation, None]:
        app = web.Application()
        app.router.add_get("/invocations_ws", parrot)
        server = await aiohttp_server(app)
        async with InvocationsClient(server.make_url("/")) as client:
            async with Conversation(client.connect(heartbeat=None), timeout=5) as conversation:
                yield conversation

    return start


async def test_a_conversation_reads_as_it_goes(opened: Open) -> None:
    async with opened() as conversation:
        assert conversation.session_id == "s-1"
        assert await conversation.say("hello") == "hello"
        assert await conversation.say_json({"a": 1}) == {"a": 1}
        await conversation.send(b"\x00")
        await conversation.send("two")
        await conversation.expect(b"\x00", "two")
        await conversation.send_json([1])
        await conversation.expect_json([1])
        await conversation.send("bye")
        assert await conversation.closed() == Close(4001, "as you wish")


async def test_a_close_of_the_clients_own_reaches_the_server(opened: Open, ends: list[int | None]) -> None:
    async with opened() as conversation:
        await conversation.close(4002, "enough")
    await until(lambda: ends == [4002])


async def test_a_client_that_vanishes_sends_no_close(opened: Open, ends: list[int | None]) -> None:
    async with opened() as conversation:
        conversation.vanish()
        await until(lambda: ends == [None])


async def test_a_wrong_message_fails_with_the_conversation_so_far(opened: Open) -> None:
    async with opened() as conversation:
        await conversation.send("one")
        await conversation.send("x" * 1000)
        with pytest.raises(AssertionError) as caught:
            await conversation.expect("one", "two")
    lines = str(caught.value).splitlines()
    assert lines[:2] == ["'two' was expected; the conversation so far:", "  > 'one'"]
    assert lines[3:5] == ["  < 'one'", f"  < '{'x' * 199}... (1000 in all)"]


async def test_every_way_to_go_wrong_is_a_failed_assertion(opened: Open) -> None:
    async with opened() as conversation:
        conversation.timeout = 0.05
        with pytest.raises(AssertionError, match=r"no message came within 0\.05 s"):
            await conversation.receive()
        with pytest.raises(AssertionError, match="did not end within"):
            await conversation.closed()
        conversation.timeout = 5
        await conversation.send("{")
        with pytest.raises(AssertionError, match="not JSON"):
            await conversation.receive_json()
        await conversation.send("1")
        with pytest.raises(AssertionError, match=r"'2' was expected"):
            await conversation.expect_json(2)
        await conversation.send("more")
        with pytest.raises(AssertionError, match="end was expected, but a message came"):
            await conversation.closed()
        await conversation.send("bye")
        with pytest.raises(AssertionError, match="the connection ended") as caught:
            await conversation.receive()
    assert "close 4001 as you wish" in str(caught.value)
