"""The types of what a durable ``run`` takes and gives: checked before it is a run, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, cast

import msgspec
import pydantic
import pytest
from aiohttp import web

from agentserver import InvocationHandler, InvocationWebSocketHandler, Run, TypedWebSocket
from agentserver.errors import HandlerError
from agentserver.testing import AgentUnderTest, in_process
from tests.durable.test_handler_mistakes import register

MEMORY = {"AGENTSERVER_STORE": "memory"}


@dataclass
class Part:
    title: str


@dataclass
class Topic:
    text: str
    parts: list[Part] = field(default_factory=list[Part])
    due: datetime | None = None


class Report(msgspec.Struct):
    titles: list[str]
    written: datetime


class Writer(InvocationHandler, durable=True):
    """Takes what has something inside, and gives what only its type can write."""

    examples = (Topic("bees"),)

    async def run(self, topic: Topic, run: Run) -> Report:
        """Answer with the parts' titles."""
        return Report([part.title for part in topic.parts], topic.due or datetime.now(timezone.utc))


class Generic(InvocationHandler[Topic, Report], durable=True):
    """The same, said by its base."""

    async def run(self, topic: Topic, run: Run) -> Report:
        """Answer with the parts' titles."""
        return Report([part.title for part in topic.parts], topic.due or datetime.now(timezone.utc))


class Order(pydantic.BaseModel):
    amount: int = pydantic.Field(gt=0)


class Shop(InvocationHandler, durable=True):
    """Takes a model of pydantic's, and does not give what it says."""

    async def run(self, order: Order, run: Run) -> Order:
        """Give another thing."""
        return cast("Order", {"amount": -order.amount})


class Chat(InvocationWebSocketHandler[Topic, Report], durable=True):
    """Durable over HTTP, with a typed WebSocket of its own."""

    async def run(self, value: int, run: Run) -> int:
        """Double it."""
        return 2 * value

    async def handle_websocket(self, websocket: TypedWebSocket[Topic, Report], context: Any) -> None:
        """Answer each topic."""
        async for topic in websocket:
            await websocket.send(Report([topic.text], datetime.now(timezone.utc)))


async def ended(agent: AgentUnderTest, body: Any) -> Any:
    answer = await agent.client.start(body)
    return (await agent.client.wait(answer.invocation_id, interval=0.01)).run()


@pytest.mark.parametrize("handler", [Writer, Generic])
async def test_nested_objects_are_made_and_what_is_given_is_written_by_its_type(handler: Any) -> None:
    async with in_process(handler, environment=MEMORY) as agent:
        due = "2026-11-21T20:00:00Z"
        run = await ended(agent, {"text": "bees", "parts": [{"title": "hives"}], "due": due})
        assert run.output == {"titles": ["hives"], "written": due}


async def test_what_is_not_taken_is_refused_with_the_place_and_an_example() -> None:
    async with in_process(Writer, environment=MEMORY) as agent:
        body = {"text": "bees", "parts": [{"title": 7}]}
        async with agent.http.post("/invocations", json=body) as response:
            error = (await response.json())["error"]
        assert (response.status, error["code"], error["target"]) == (
            400,
            "invalid_request",
            "$.parts[0].title",
        )
        assert error["example"]["text"] == "bees"
        assert [run async for run in agent.client.list()] == []


async def test_a_model_is_checked_and_an_output_that_is_not_what_was_said_fails_the_run() -> None:
    async with in_process(Shop, environment=MEMORY) as agent:
        async with agent.http.post("/invocations", json={"amount": 0}) as response:
            assert response.status == 400
        run = await ended(agent, {"amount": 3})
        assert run.error == {"code": "internal_error", "message": "Internal server error"}


async def test_a_typed_websocket_beside_durable_runs_serves_both() -> None:
    async with in_process(Chat, environment=MEMORY) as agent:
        assert (await ended(agent, 21)).output == 42
        async with agent.client.connect() as connection:
            await connection.send('{"text": "bees"}')
            assert "bees" in str(await connection.receive())


def test_types_that_no_json_carries_are_refused_at_the_start() -> None:
    class Takes(InvocationHandler, durable=True):
        async def run(self, value: Callable[[], int], run: Run) -> None: ...

    class Gives(InvocationHandler, durable=True):
        async def run(self, value: Any, run: Run) -> web.Request:
            raise NotImplementedError

    for handler, sentence in ((Takes, "Takes takes Callable"), (Gives, "Gives gives Request")):
        with pytest.raises(HandlerError, match=sentence):
            register(handler)


class Anything(InvocationHandler, durable=True):
    """Takes whatever comes."""

    async def run(self, value: Any, run: Run) -> int:
        """Say how long it is as text."""
        return len(str(value))


@pytest.mark.parametrize("handler", [Writer, Anything])
async def test_what_json_does_not_have_is_refused_and_not_the_servers_fault(handler: Any) -> None:
    async with in_process(handler, environment=MEMORY) as agent:
        deep = (b'{"text": ' + b"[" * depth + b"]" * depth + b"}" for depth in range(200, 1100, 3))
        for body in (b"NaN", b'{"text": Infinity}', b'{"text": 1e999}', b'{"text": "\\ud800"', *deep):
            async with agent.http.post("/invocations", data=body) as response:
                told = await response.json()
            if len(body) < 100:
                assert (response.status, told["error"]["code"]) == (400, "invalid_request"), body
            else:
                assert response.status in {202, 400, 413}, (len(body), told)
