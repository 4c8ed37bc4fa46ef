"""Handlers that fail in every way: the client gets its 1011, the log the error, and the process lives."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import NoReturn

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationWebSocketHandler
from tests.servers import running, serving
from tests.websocket.talking import code_of, dialled, event, talking


class SpeechlessError(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


class ForeignError(BaseException):
    """Of a library that derives its errors from BaseException."""


def leave() -> NoReturn:
    sys.exit(3)


def speechless() -> NoReturn:
    raise SpeechlessError


def foreign() -> NoReturn:
    raise ForeignError("secret")


FAILURES: list[Callable[[], NoReturn]] = [leave, speechless, foreign]


@pytest.mark.parametrize("fail", FAILURES)
async def test_a_handler_that_raises_anything_at_all_closes_with_1011_and_the_server_lives(
    fail: Callable[[], NoReturn], caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        if await websocket.receive_str() == "fail":
            fail()

    async with talking(talk) as url:
        async with dialled(url) as client:
            await client.send("fail")
            assert await code_of(client) == (1011, "Internal server error")
            closed = await event(caplog)
        async with dialled(url) as client:
            await client.send("go on")
            assert await code_of(client) == (1000, "")
    assert (closed["close_code"], closed["error.code"]) == (1011, "internal_error")
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert logged.exc_info is not None
    assert logging.Formatter().format(logged)


class Made:
    """What a handler asks for, and what fails where the test says."""


@pytest.mark.parametrize("where", ["begin", "end"])
@pytest.mark.parametrize("fail", FAILURES)
async def test_a_service_that_fails_is_a_failure_of_the_handler(
    where: str, fail: Callable[[], NoReturn], caplog: pytest.LogCaptureFixture
) -> None:
    async def made() -> AsyncIterator[Made]:
        if where == "begin":
            fail()
        yield Made()
        fail()

    class Handler(InvocationWebSocketHandler):
        def __init__(self, made: Made) -> None:
            self.made = made

        async def handle_websocket(
            self, websocket: web.WebSocketResponse, context: InvocationContext
        ) -> None:
            return

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_scoped(Made, made)

    async with serving(Handler, configure) as client:
        async with dialled(f"{client._base_url}/invocations_ws") as websocket:
            code, _ = await code_of(websocket)
        async with client.get("/readiness") as response:
            assert response.status == 200
    assert code in ((1011,) if where == "begin" else (1000, 1011))


STUBBORN = """
import asyncio
from agentserver import InvocationsServer, InvocationWebSocketHandler, InvocationActionHandler

async def hold_on():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("no", flush=True)

class Stubborn(InvocationWebSocketHandler):
    async def handle_websocket(self, websocket, context):
        await hold_on()

class StubbornAction(InvocationActionHandler):
    async def invoke(self, payload, context):
        await hold_on()

InvocationsServer.run({}, configure=lambda builder: builder.configure(shutdown_timeout=0.2))
"""


@pytest.mark.parametrize("handler", ["Stubborn", "StubbornAction"])
async def test_a_handler_that_swallows_its_cancellation_does_not_keep_the_process(handler: str) -> None:
    async with running("-c", STUBBORN.format(handler)) as server:
        client = await dialled(f"{server.url}/invocations_ws")
        await client.send('{"action": "invoke", "payload": {}}')
        await asyncio.sleep(0.1)
        server.terminate()
        assert await code_of(client) == (1001, "")
        assert await server.exit_code() == 0
    log = "".join(server.log)
    assert log.count("invocations_ws connection closed") <= 1  # it has not ended when the process does
    assert "_websocket_endpoint.py" not in log
