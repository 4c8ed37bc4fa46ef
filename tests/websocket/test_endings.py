"""How a connection of ``invocations_ws`` ends, and what is reported (contract, section 5)."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from websockets.exceptions import InvalidMessage

from agentserver import (
    InvocationContext,
    InvocationsServerOptions,
)
from tests.websocket.talking import (
    Talking,
    code_of,
    dialled,
    event,
    served,
    talking,
)


async def test_text_and_binary_messages_come_back_and_the_clients_close_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with talking() as url, dialled(url) as client:
        for message in ("", "é 世界 😀", b"", bytes(range(256)), "x" * 70_000, b"y" * 2_000_000):
            await client.send(message)
            assert await client.recv() == message
        await client.close(4321, "bye")
        assert (client.close_code, client.close_reason) == (4321, "")
        closed = await event(caplog)
    assert closed.keys() == {"session_id", "close_code", "duration_ms"}
    assert closed["close_code"] == 4321


async def test_the_log_says_at_the_start_that_websockets_are_served(caplog: pytest.LogCaptureFixture) -> None:
    async with talking():
        assert "serving invocations, invocations_ws;" in caplog.text


async def test_a_handler_that_returns_closes_with_1000(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        return

    async with talking(talk) as url, dialled(url) as client:
        assert await code_of(client) == (1000, "")
        assert (await event(caplog))["close_code"] == 1000


@pytest.mark.parametrize(
    "error", [RuntimeError, asyncio.CancelledError, asyncio.TimeoutError, ConnectionError]
)
async def test_a_handler_that_raises_closes_with_1011_and_tells_nothing(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        raise error("secret")

    async with talking(talk) as url, dialled(url) as client:
        assert await code_of(client) == (1011, "Internal server error")
        closed = await event(caplog)
    assert (closed["close_code"], closed["error.code"]) == (1011, "internal_error")


async def test_a_handlers_own_code_and_reason_arrive_unchanged(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.close(code=4001, message=b"custom reason")

    async with talking(talk) as url, dialled(url) as client:
        assert await code_of(client) == (4001, "custom reason")
        closed = await event(caplog)
    assert (closed["close_code"], "error.code" in closed) == (4001, False)


@pytest.mark.parametrize(("code", "reason"), [(1006, b""), (999, b""), (5000, b""), (4000, b"x" * 124)])
async def test_a_code_that_may_not_be_sent_is_refused(code: int, reason: bytes) -> None:
    refused: list[str] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        try:
            await websocket.close(code=code, message=reason)
        except ValueError as error:
            refused.append(str(error))

    async with talking(talk) as url, dialled(url) as client:
        assert await code_of(client) == (1000, "")
    assert len(refused) == 1


async def test_a_client_that_vanishes_is_reported_as_1006_and_its_handler_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.send_str("ready")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with talking(talk) as url, dialled(url) as client:
        await client.recv()
        client.transport.abort()
        closed = await event(caplog)
    assert (closed["close_code"], closed["error.code"]) == (1006, "cancelled")
    assert ended == ["cancelled"]


async def test_a_client_that_leaves_during_the_handshake_is_reported_as_accept_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def cut(request: web.Request, response: web.StreamResponse) -> None:
        assert request.transport is not None
        request.transport.close()

    async with talking(configure=lambda builder: builder.app.on_response_prepare.append(cut)) as url:
        with pytest.raises(InvalidMessage):
            await dialled(url)
        closed = await event(caplog)
    assert (closed["close_code"], closed["error.code"]) == (1006, "accept_failed")


async def test_a_handler_that_does_not_read_has_its_time_after_the_clients_close_and_is_then_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await asyncio.Event().wait()

    options = InvocationsServerOptions(websocket_close_timeout=0.1)
    async with served(Talking(talk), options) as url, dialled(url) as client:
        await client.close(1000)
        assert client.close_code == 1000
        closed = await event(caplog)
    assert (closed["close_code"], closed["error.code"]) == (1000, "cancelled")


async def test_sending_after_the_clients_close_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    gone = asyncio.Event()

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await gone.wait()
        await websocket.send_str("too late")

    async with talking(talk) as url, dialled(url) as client:
        await client.close(1000)
        gone.set()
        closed = await event(caplog)
    assert (closed["close_code"], "error.code" in closed) == (1000, False)


async def test_what_came_before_the_clients_close_is_read_and_replied_to_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    replied: list[str] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for message in websocket:
            await asyncio.sleep(0.01)
            await websocket.send_str(message.data)
            replied.append(message.data)

    async with talking(talk) as url, dialled(url) as client:
        for number in range(3):
            await client.send(str(number))
        await client.close(4000)
        assert client.close_code == 4000
        closed = await event(caplog)
    assert replied == ["0", "1", "2"]
    assert (closed["close_code"], "error.code" in closed) == (4000, False)


async def test_shutdown_closes_with_1001_and_lets_the_handler_finish(
    caplog: pytest.LogCaptureFixture,
) -> None:
    finished: list[bool] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.send_str("ready")
        async for _ in websocket:
            pass
        await asyncio.sleep(0.05)
        finished.append(True)

    async with talking(talk) as url:
        client = await dialled(url)
        await client.recv()
    assert await code_of(client) == (1001, "")
    assert finished == [True]
    closed = await event(caplog)
    assert (closed["close_code"], "error.code" in closed) == (1001, False)


async def test_a_handler_that_outlives_the_shutdown_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.send_str("ready")
        await asyncio.Event().wait()

    async with talking(talk, configure=lambda builder: builder.configure(shutdown_timeout=0.1)) as url:
        client = await dialled(url)
        await client.recv()
    assert await code_of(client) == (1001, "")
    closed = await event(caplog)
    assert (closed["close_code"], closed["error.code"]) == (1001, "cancelled")
