"""``invocations_ws`` through real sockets (contract, section 5)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from agentserver import (
    AgentHostBuilder,
    InvocationContext,
    InvocationHandler,
    InvocationsServerOptions,
    InvocationWebSocketHandler,
    map_invocations_server,
)
from agentserver.errors import ConfigurationError
from tests.servers import DEADLINE, serving

CLOSE_EVENT = "invocations_ws connection closed"
FIELDS = "azure.ai.agentserver.invocations_ws"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

Talk = Callable[[web.WebSocketResponse, InvocationContext], Awaitable[None]]


class Http(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return "over HTTP"


class Talking(InvocationWebSocketHandler):
    """Talks as the test says."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await self._talk(websocket, context)


async def echo(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
    async for message in websocket:
        if message.type is WSMsgType.TEXT:
            await websocket.send_str(message.data)
        else:
            await websocket.send_bytes(message.data)


@asynccontextmanager
async def talking(
    talk: Talk = echo,
    environment: dict[str, str] | None = None,
    configure: Callable[[AgentHostBuilder], object] | None = None,
) -> AsyncGenerator[str, None]:
    """The URL of a host whose handler talks as *talk* says."""
    async with serving(Talking(talk), configure, environment) as client:
        yield f"{client._base_url}/invocations_ws"


def dialled(url: str, **options: Any) -> connect:
    return connect(url.replace("http", "ws", 1), proxy=None, max_size=None, **options)


async def code_of(client: ClientConnection) -> tuple[int | None, str]:
    """Wait for the end: the close code and reason that the server sent."""
    try:
        while True:
            await asyncio.wait_for(client.recv(), DEADLINE)
    except ConnectionClosed as closed:
        received = closed.rcvd
        return (received.code, received.reason) if received else (None, "")


async def event(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The one close event, without the namespace of its fields."""
    while not (found := [record for record in caplog.records if record.getMessage() == CLOSE_EVENT]):
        await asyncio.sleep(0.005)
    (record,) = found
    assert record.levelno == logging.INFO
    assert record.exc_info is None
    return {
        name.removeprefix(FIELDS + "."): value
        for name, value in vars(record).items()
        if name.startswith(FIELDS)
    }


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentserver")


# --- the upgrade


async def test_the_101_has_the_session_id_and_the_identity_headers() -> None:
    async with talking() as url, dialled(url) as client:
        assert client.response is not None
        headers = client.response.headers
        assert UUID.fullmatch(headers["x-agent-session-id"])
        assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
        assert headers["x-platform-server"].startswith("agentserver-core/")


async def test_a_plain_request_is_400_with_the_envelope() -> None:
    async with talking() as url, aiohttp.ClientSession() as client, client.get(url) as response:
        assert response.status == 400
        assert response.headers["x-platform-error-source"] == "user"
        assert (await response.json())["error"]["code"] == "invalid_request"


async def test_a_handler_without_a_websocket_answers_404_upgrade_or_not() -> None:
    async with serving(Http) as client:
        async with client.get("/invocations_ws") as response:
            assert response.status == 404
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect("/invocations_ws")
        assert refused.value.status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Key": "short"},
        {"Connection": "keep-alive"},
        {"Upgrade": "h2c"},
    ],
    ids=str,
)
async def test_a_wrong_handshake_is_400(headers: dict[str, str]) -> None:
    right = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with talking() as url, aiohttp.ClientSession() as client:
        async with client.get(url, headers={**right, **headers}) as response:
            assert response.status == 400


async def test_a_post_is_405() -> None:
    async with talking() as url, aiohttp.ClientSession() as client, client.post(url) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_the_handler_gets_the_context_that_an_http_handler_gets() -> None:
    seen: list[InvocationContext] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        seen.append(context)

    headers = {"x-client-a": "1", "x-agent-user-isolation-key": "u", "x-agent-foundry-call-id": "call"}
    async with talking(talk) as url:
        async with dialled(f"{url}?a=1&a=2&agent_session_id=s-1", additional_headers=headers) as client:
            assert await code_of(client) == (1000, "")
    (context,) = seen
    assert UUID.fullmatch(context.invocation_id)
    assert context.session_id == "s-1"
    assert dict(context.client_headers) == {"x-client-a": "1"}
    assert context.query_parameters.getall("a") == ["1", "2"]
    assert context.isolation.user_isolation_key == "u"
    assert context.platform.call_id == "call"


async def test_the_session_id_is_the_environments_before_the_querys() -> None:
    async with talking(environment={"FOUNDRY_AGENT_SESSION_ID": "env"}) as url:
        async with dialled(f"{url}?agent_session_id=query") as client:
            assert client.response is not None
            assert client.response.headers["x-agent-session-id"] == "env"


# --- how it ends


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


# --- limits and options


@asynccontextmanager
async def served(handler: InvocationHandler, options: InvocationsServerOptions) -> AsyncGenerator[str, None]:
    """*handler* inside an application of the user's, on aiohttp's own runner."""
    app = web.Application()
    map_invocations_server(app, handler, invocations=options)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/invocations_ws"
    finally:
        await runner.cleanup()


async def test_a_message_over_the_limit_is_answered_with_1009_and_one_at_the_limit_is_carried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = InvocationsServerOptions(websocket_max_message_size=1000)
    async with served(Talking(echo), options) as url, dialled(url) as client:
        await client.send("x" * 1000)
        assert await client.recv() == "x" * 1000
        await client.send("x" * 1001)
        assert await code_of(client) == (1009, "a message may have at most 1000 bytes")
        assert (await event(caplog))["close_code"] == 1009


async def test_the_first_subprotocol_of_the_client_that_the_agent_speaks_is_chosen() -> None:
    chosen: list[str | None] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        chosen.append(websocket.ws_protocol)

    options = InvocationsServerOptions(websocket_protocols=("b", "c"))
    async with served(Talking(talk), options) as url:
        for asked, expected in ((["a", "c", "b"], "c"), (["a"], None)):
            async with dialled(url, subprotocols=asked) as client:
                assert client.subprotocol == expected
                await code_of(client)
    assert chosen == ["c", None]


@pytest.mark.parametrize("compression", [False, True])
async def test_messages_are_compressed_only_where_the_option_says_so(compression: bool) -> None:
    options = InvocationsServerOptions(websocket_compression=compression)
    async with served(Talking(echo), options) as url, dialled(url) as client:
        assert bool(client.protocol.extensions) is compression
        for message in ("x" * 100_000, "x" * 100_000, b"", "é"):
            await client.send(message)
            assert await client.recv() == message


@pytest.mark.parametrize(
    "options",
    [
        {"websocket_max_message_size": 0},
        {"websocket_close_timeout": 0},
        {"websocket_close_timeout": float("nan")},
        {"websocket_protocols": ("a b",)},
    ],
    ids=str,
)
def test_an_option_out_of_its_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options)).split("_")[1][:8]):
        InvocationsServerOptions(**options)


async def test_messages_over_1_mib_give_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with talking() as url, dialled(url) as client:
        for _ in range(2):
            await client.send(b"x" * 1_100_000)
            await client.recv()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["1100000 bytes" in warning.getMessage() for warning in warnings] == [True]


async def test_a_dead_peer_is_found_within_two_intervals(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await asyncio.Event().wait()

    async with talking(talk, environment={"WS_KEEPALIVE_INTERVAL": "0.2"}) as url:
        async with dialled(url) as client:
            client.transport.pause_reading()
            closed = await event(caplog)
            client.transport.abort()
    assert (closed["close_code"], closed["error.code"]) == (1006, "cancelled")
    assert 390 <= closed["duration_ms"] < 1500


async def test_a_peer_that_answers_pings_stays(caplog: pytest.LogCaptureFixture) -> None:
    async with talking(environment={"WS_KEEPALIVE_INTERVAL": "0.05"}) as url, dialled(url) as client:
        await asyncio.sleep(0.3)
        await client.send("still here")
        assert await client.recv() == "still here"


async def test_http_works_beside_the_websocket() -> None:
    async with serving(Talking(echo)) as client:
        async with client.post("/invocations") as response:
            assert response.status == 404
        async with client.get("/readiness") as response:
            assert response.status == 200


async def test_a_refused_upgrade_is_told_to_an_independent_client() -> None:
    async with serving(Http) as client:
        with pytest.raises(InvalidStatus):
            await dialled(f"{client._base_url}/invocations_ws")
