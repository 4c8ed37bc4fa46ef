"""What mypy and pyright, both strict, say of handlers with types and of their clients.

A line that ends in ``# wrong`` must be reported by both, and no other line may be: ten mistakes for an agent
that answers with JSON, ten for one with events, ten for a WebSocket and actions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.test_typing import mypy_reports, pyright_reports, wrong_lines

PROGRAM: Final = """
from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    ServerSentEvent,
    TypedWebSocket,
)
from agentserver.client import InvocationsClient
from agentserver.testing import in_process
from aiohttp import web

@dataclass
class Ask:
    message: str
    times: int = 1

@dataclass
class Reply:
    said: str

@dataclass
class Delta:
    text: str

@dataclass
class Done:
    tokens: int

# --- JSON

class Echo(InvocationHandler[Ask, Reply]):
    async def handle(self, request: Ask, context: InvocationContext) -> Reply:
        request.massage  # wrong
        if request.times > 3:
            return Reply(request.times)  # wrong
        return Reply(request.message)

class Responding(InvocationHandler[Ask, Reply]):
    async def handle(self, request: Ask, context: InvocationContext) -> Reply | web.Response:
        return web.Response()

class OtherRequest(InvocationHandler[Ask, Reply]):
    async def handle(self, request: Reply, context: InvocationContext) -> Reply:  # wrong
        return request

class OtherReply(InvocationHandler[Ask, Reply]):
    async def handle(self, request: Ask, context: InvocationContext) -> Done:  # wrong
        return Done(1)

class NotAsync(InvocationHandler[Ask, Reply]):
    def handle(self, request: Ask, context: InvocationContext) -> Reply:  # wrong
        return Reply("")

async def ask() -> None:
    async with InvocationsClient.of(Echo, "http://localhost:8088") as echo:
        reply = await echo.invoke(Ask("hello"), timeout=5)
        print(reply.said.upper())
        await echo.invoke("hello")  # wrong
        await echo.invoke(Reply("hello"))  # wrong
        reply.text  # wrong
        number: int = (await echo.invoke(Ask("hello"))).said  # wrong
        await echo.invoke(Ask(5))  # wrong
        await echo.invok(Ask("hello"))  # wrong
    async with in_process(Echo) as agent:
        print((await agent.of(Echo).invoke(Ask("hello"))).said)
        (await agent.of(Echo).invoke(Ask("hello"))).tokens  # wrong

# --- Events

class Chat(InvocationHandler[Ask, Delta | Done]):
    async def handle(self, request: Ask, context: InvocationContext) -> AsyncIterator[Delta | Done]:
        yield Delta(request.message)
        yield Reply("a")  # wrong
        yield "a"  # wrong
        yield Done("1")  # wrong
        yield Done(1)

class WithIds(InvocationHandler[Ask, Delta]):
    async def handle(
        self, request: Ask, context: InvocationContext
    ) -> AsyncIterator[Delta | ServerSentEvent]:
        yield ServerSentEvent(Delta("a"), id="1")

class OtherEvents(InvocationHandler[Ask, Delta]):
    async def handle(self, request: Ask, context: InvocationContext) -> AsyncIterator[Done]:  # wrong
        yield Done(1)

async def chat() -> None:
    chat = InvocationsClient.of(Chat)
    async with chat.stream(Ask("hello")) as events:
        async for event in events:
            if isinstance(event, Delta):
                print(event.text)
                event.tokens  # wrong
            else:
                print(event.tokens)
                event.text  # wrong
    async with chat.stream(Ask("hello")) as events:
        async for event in events:
            event.text  # wrong
    async with chat.stream({"message": "hello"}) as events:  # wrong
        pass
    async with chat.stream(Ask("hello"), timeout=5) as events:  # wrong
        pass
    async with chat.stream(Ask("hello")) as events:
        for event in events:  # wrong
            pass

# --- Messages and actions

class Talk(InvocationWebSocketHandler[Ask, Delta]):
    async def handle_websocket(
        self, websocket: TypedWebSocket[Ask, Delta], context: InvocationContext
    ) -> None:
        async for message in websocket:
            await websocket.send(Delta(message.message))
            await websocket.send(Done(1))  # wrong
            await websocket.send("a")  # wrong
            message.text  # wrong

class Count(InvocationActionHandler[Ask, Delta]):
    async def invoke(self, payload: Ask, context: ActionContext) -> AsyncIterator[Delta]:
        payload["message"]  # wrong
        yield Done(1)  # wrong
        yield Delta(payload.message)

class OtherPayload(InvocationActionHandler[Ask, Delta]):
    async def invoke(self, payload: Reply, context: ActionContext) -> AsyncIterator[Delta]:  # wrong
        yield Delta("")

async def talk() -> None:
    async with InvocationsClient.of(Talk).connect() as talking:
        await talking.send(Ask("hello"))
        print((await talking.receive()).text)
        await talking.send(Delta("hello"))  # wrong
        (await talking.receive()).tokens  # wrong
    async with InvocationsClient.of(Count).actions() as actions:
        async with actions.stream(Ask("hello")) as chunks:
            async for chunk in chunks:
                print(chunk.text)
                chunk.tokens  # wrong
        await actions.invoke(5)  # wrong
    InvocationsClient.of(Chat).connect()  # wrong
    InvocationsClient.of(Talk).actions()  # wrong
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("reports", [mypy_reports, pyright_reports], ids=["mypy", "pyright"])
def test_type_checkers_report_every_mistake_and_nothing_else(
    tmp_path: Path, reports: Callable[[Path], set[int]]
) -> None:
    file = tmp_path / "typed_handlers.py"
    file.write_text(PROGRAM)
    for part in PROGRAM.split("# ---")[1:]:
        assert len(wrong_lines(part)) >= 10
    assert reports(file) == wrong_lines(PROGRAM)
