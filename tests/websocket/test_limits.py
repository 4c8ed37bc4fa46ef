"""Limits, options and keep-alive of ``invocations_ws`` (contract, section 5)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web
from websockets.exceptions import InvalidStatus

from agentserver import (
    InvocationContext,
    InvocationsServerOptions,
)
from agentserver.errors import ConfigurationError
from tests.servers import serving
from tests.websocket.talking import (
    Http,
    Talking,
    code_of,
    dialled,
    echo,
    event,
    served,
    talking,
)


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
