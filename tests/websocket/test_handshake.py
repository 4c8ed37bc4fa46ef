"""The upgrade of ``invocations_ws``, through real sockets (contract, section 5)."""

from __future__ import annotations

import re

import aiohttp
import pytest
from aiohttp import web

from agentserver import (
    InvocationContext,
)
from tests.servers import serving
from tests.websocket.talking import (
    Http,
    code_of,
    dialled,
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
