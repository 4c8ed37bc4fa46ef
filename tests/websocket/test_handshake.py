"""The upgrade of ``invocations_ws``, through real sockets (contract, section 5)."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import pytest
from aiohttp import web
from websockets.exceptions import InvalidStatus
from yarl import URL

from agentserver import InvocationContext, InvocationsServerOptions
from agentserver.errors import ConfigurationError
from tests.http.raw import Connection, ask, connected, get
from tests.servers import serving
from tests.websocket.talking import (
    Http,
    Talking,
    code_of,
    dialled,
    echo,
    served,
    talking,
)

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


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


RIGHT = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def upgrade(*headers: str, method: str = "GET") -> bytes:
    """The bytes of a request for an upgrade."""
    return get(
        "/invocations_ws", *(f"{name}: {value}" for name, value in RIGHT.items()), *headers, method=method
    )


async def test_a_head_that_asks_for_an_upgrade_is_405_and_the_connection_goes_on() -> None:
    async with serving(Talking(echo)) as client, connected(client) as connection:
        connection.send(upgrade(method="HEAD"))
        refused = await connection.answer(head=True)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET")
        connection.send(get("/readiness"))
        assert (await connection.answer()).status == 200


async def test_a_head_without_an_upgrade_is_400_as_a_get_is() -> None:
    async with serving(Talking(echo)) as client:
        assert (await ask(client, get("/invocations_ws", method="HEAD"), head=True)).status == 400


async def test_an_upgrade_of_http_1_0_is_400_and_the_end_of_the_connection() -> None:
    async with serving(Talking(echo)) as client, connected(client) as connection:
        connection.send(upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await connection.rest()
    assert answer.split(b" ", 2)[1] == b"400"
    assert b"WebSockets need HTTP/1.1" in answer


ORIGINS = ("https://chat.example", "http://localhost:3000")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ((), 101),
        (("Origin: https://chat.example",), 101),
        (("Origin: HTTPS://Chat.Example",), 403),
        (("Origin: https://chat.example:443",), 403),
        (("Origin: http://localhost:3000",), 101),
        (("Origin: http://localhost",), 403),
        (("Origin: http://chat.example",), 403),
        (("Origin: https://chat.example.evil",), 403),
        (("Origin: https://chat.example", "Origin: https://evil.example"), 403),
        (("Origin: null",), 403),
        (("Origin:",), 403),
    ],
    ids=str,
)
async def test_a_page_of_another_origin_is_403_where_origins_are_listed(
    sent: tuple[str, ...], status: int
) -> None:
    options = InvocationsServerOptions(websocket_origins=ORIGINS)
    async with served(Talking(echo), options) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
        connection = Connection(reader, writer)
        connection.send(upgrade(*sent))
        answer = await connection.answer()
        if status == 403:
            assert answer.error == (403, "forbidden", "user")
        else:
            assert answer.status == status
        writer.close()


async def test_every_origin_is_welcome_unless_some_are_listed() -> None:
    async with serving(Talking(echo)) as client, connected(client) as connection:
        connection.send(upgrade("Origin: https://anywhere.example"))
        assert (await connection.answer()).status == 101


async def test_no_page_is_welcome_where_the_list_is_empty() -> None:
    async with served(Talking(echo), InvocationsServerOptions(websocket_origins=())) as url:
        async with dialled(url):
            pass
        with pytest.raises(InvalidStatus):
            await dialled(url, origin="https://anywhere.example")


@pytest.mark.parametrize(
    "origin",
    [
        "chat.example",
        "https://chat.example/",
        "https://Chat.example",
        "https://a.example:443",
        "https://",
        "*",
        "",
    ],
)
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(ConfigurationError, match=r"websocket_origins .* such as 'https://chat.example'"):
        InvocationsServerOptions(websocket_origins=(origin,))


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
    async with talking() as url, aiohttp.ClientSession() as client:
        async with client.get(url, headers={**RIGHT, **headers}) as response:
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
