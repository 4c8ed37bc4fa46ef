"""A client with the types of a handler's class: it takes and gives objects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from msgspec import Struct

from agentserver import (
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    ServerSentEvent,
    StartupError,
)
from agentserver.client import AnswerError, ConnectionClosedError, InvocationsClient, ResponseError
from agentserver.testing import in_process
from tests.servers import ROOT
from tests.typed.kinds import AsDataclass, Chat, Delta, Done, Reply
from tests.typed.test_actions import Count, Counter, Number, Word
from tests.typed.test_websockets import Hello, Talk, Text
from tests.typed.test_websockets import Number as Closing


class Echo(InvocationHandler[AsDataclass, Reply]):
    async def handle(self, request: AsDataclass, context: InvocationContext) -> Reply:
        return Reply(f"{request.message} in {context.session_id}")


class Impostor(InvocationHandler):
    """Answers with whatever the test wants, and says nothing of it."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        answer = await request.text()
        if '"stream"' not in answer:
            return {"said": 5}
        return self._events()

    async def _events(self) -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent('{"text": "a"}', event="delta")
        yield ServerSentEvent('{"text": "b"}', event="unheard")


async def test_an_object_goes_out_and_one_comes_back() -> None:
    async with in_process(Echo) as agent:
        reply = await InvocationsClient.of(Echo, agent.client).session("s-1").invoke(AsDataclass("hi"))
        assert reply == Reply("hi in s-1")
        async with InvocationsClient.of(Echo, agent.client).stream(AsDataclass("hi")) as events:
            assert [type(event) async for event in events] == [Reply]


async def test_events_become_objects_of_their_classes() -> None:
    async with in_process(Chat) as agent, agent.of(Chat).stream(AsDataclass("hi you")) as events:
        assert [event async for event in events] == [Delta("hi"), Delta("you"), Done(12)]


async def test_what_is_wrong_is_said_before_anything_is_sent() -> None:
    async with in_process(Echo) as agent:
        with pytest.raises(ValueError, match=r"Echo takes something else: \$.message"):
            await agent.of(Echo).invoke(AsDataclass(""))
        with pytest.raises(ValueError, match="expected AsDataclass, got Reply"):
            await agent.of(Echo).invoke(Reply("x"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose


async def test_an_answer_of_another_kind_is_an_error_that_says_where() -> None:
    async with in_process(Impostor) as agent:
        with pytest.raises(AnswerError, match=r"not what Echo gives: \$.said: expected a string"):
            await agent.of(Echo).invoke(AsDataclass("hi"))
        with pytest.raises(AnswerError, match="streams its answer: use stream"):
            await agent.of(Echo).invoke(AsDataclass("stream"))
        async with agent.of(Chat).stream(AsDataclass("stream")) as events:
            assert await anext(events) == Delta("a")
            with pytest.raises(AnswerError, match="not what Chat gives"):
                await anext(events)


async def test_an_error_of_the_agent_stays_what_it_is() -> None:
    @dataclass
    class More(AsDataclass):
        must: int = 0

    class Newer(InvocationHandler[More, Reply]):
        async def handle(self, request: More, context: InvocationContext) -> Reply:
            return Reply("")

    class Older(InvocationHandler[dict[str, str], Reply]):
        async def handle(self, request: dict[str, str], context: InvocationContext) -> Reply:
            return Reply("")

    async with in_process(Newer) as agent:
        with pytest.raises(ResponseError, match="400 invalid_request: must: expected a whole number"):
            await agent.of(Older).invoke({"must": "x"})


async def test_a_websocket_takes_and_gives_objects() -> None:
    async with in_process(Talk) as agent, agent.of(Talk).connect() as talk:
        await talk.send(Hello("hello", "you"))
        assert await talk.receive() == Text("hello you")
        await talk.raw.send('{"type": "nobody"}')
        with pytest.raises(AnswerError, match="the agent took no message of ours"):
            await talk.receive()
        with pytest.raises(ValueError, match=r"Talk takes something else: \$.name"):
            await talk.send(Hello("hello", 5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose
        await talk.send(Hello("hello", "again"))
        await talk.send(Closing("number", 1))
        assert await anext(aiter(talk)) == Text("hello again")
        with pytest.raises(ConnectionClosedError, match="closed with code 4001"):
            await talk.receive()


async def test_actions_take_and_give_objects() -> None:
    async with in_process(Counter) as agent, agent.of(Counter).actions() as actions:
        async with actions.stream(Count(2, "x")) as chunks:
            assert [chunk async for chunk in chunks] == [Number(1), Number(2), Word("x")]
        with pytest.raises(ValueError, match=r"\$.to"):
            async with actions.stream(Count(0)) as chunks:
                pass
        with pytest.raises(AnswerError, match="Counter streams its answer: use stream"):
            await actions.invoke(Count(1))
        assert await actions.raw.ping() >= 0


async def test_a_client_can_be_made_of_an_address() -> None:
    from agentserver.testing import on_socket

    async with on_socket(Echo) as agent, InvocationsClient.of(Echo, agent.url) as echo:
        assert (await echo.invoke(AsDataclass("hi"))).said.startswith("hi in ")


def test_a_handler_without_types_has_no_such_client() -> None:
    with pytest.raises(StartupError, match="Impostor names no types: derive it from"):
        InvocationsClient.of(Impostor)


def test_the_client_alone_loads_nothing_of_the_server() -> None:
    program = (
        "import sys; import agentserver.client; sys.exit(any(name in sys.modules for name in"
        " ('agentserver.invocations', 'agentserver._typed', 'msgspec')))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


class Tagged(Struct, tag=True):
    x: int


class Other(InvocationWebSocketHandler[Tagged, Tagged]):
    async def handle_websocket(self, websocket: Any, context: InvocationContext) -> None:
        async for message in websocket:
            await websocket.send(message)

    async def handle(self, request: Tagged, context: InvocationContext) -> Tagged:
        return request


async def test_a_handler_may_have_types_over_http_and_over_its_websocket() -> None:
    async with in_process(Other) as agent:
        assert await agent.of(Other).invoke(Tagged(1)) == Tagged(1)
        async with agent.of(Other).connect() as other:
            await other.send(Tagged(2))
            assert await other.receive() == Tagged(2)
