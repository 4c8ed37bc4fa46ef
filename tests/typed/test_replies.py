"""What a handler with types gives is checked before it leaves."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import pydantic
import pytest
from aiohttp import web
from typing_extensions import TypedDict

from agentserver import BadRequestError, InvocationContext, InvocationHandler, ServerSentEvent
from agentserver.testing import in_process
from tests.typed.kinds import Chat, Delta, Done, Reply


class Model(pydantic.BaseModel):
    said: str


class Left(TypedDict):
    way: Literal["left"]


class Right(TypedDict):
    way: Literal["right"]


@dataclass
class Stranger:
    text: str


def replying(declared: Any, value: Any) -> type[InvocationHandler]:
    class Agent(InvocationHandler[Any, declared]):
        async def handle(self, request: Any, context: InvocationContext) -> Any:
            return value

    return Agent


def streaming(declared: Any, *values: Any) -> type[InvocationHandler]:
    class Agent(InvocationHandler[Any, declared]):
        async def handle(self, request: Any, context: InvocationContext) -> AsyncIterator[Any]:
            for value in values:
                yield value

    return Agent


async def test_events_carry_the_names_of_their_classes() -> None:
    async with in_process(Chat) as agent:
        async with agent.http.post("/invocations", json={"message": "hi you"}) as answer:
            assert answer.content_type == "text/event-stream"
            assert await answer.text() == (
                'event: delta\ndata: {"text":"hi"}\n\n'
                'event: delta\ndata: {"text":"you"}\n\n'
                'event: done\ndata: {"tokens":12}\n\n'
            )
        async with agent.http.post("/invocations", data="{}") as answer:
            assert answer.status == 400


@pytest.mark.parametrize(
    ("declared", "value", "where"),
    [
        (Reply, Reply(5), "$.said: expected a string"),  # type: ignore[arg-type]  # on purpose
        (Reply, Stranger("x"), "expected Reply, got Stranger"),
        (Reply, None, "expected Reply, got NoneType"),
        (Model, Model.model_construct(said=5), "does not fit"),
        (Model, Reply("x"), "expected Model, got Reply"),
        (Left | Right, {"way": "up"}, "expected Left | Right"),
        (list[int], ["x"], "$[0]: expected a whole number"),
        (dict[str, float], {"x": float("nan")}, "expected a number, got null"),
    ],
    ids=str,
)
async def test_a_wrong_reply_is_a_500_and_the_log_says_where(
    declared: Any, value: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(replying(declared, value)) as agent:
        async with agent.http.post("/invocations", json=None) as answer:
            assert answer.status == 500
            assert await answer.json() == {
                "error": {"code": "internal_error", "message": "Internal server error"}
            }
    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert record.exc_info is not None
    said = str(record.exc_info[1])
    assert said.startswith("Agent gave a reply, a ")
    assert where in said


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Reply, Reply("x")),
        (Model, Model(said="x")),
        (dict[str, str], {"said": "x"}),
        (Reply | None, Reply("x")),
    ],
    ids=str,
)
async def test_a_right_reply_is_json(declared: Any, value: Any) -> None:
    async with in_process(replying(declared, value)) as agent:
        async with agent.http.post("/invocations") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert await answer.text() == '{"said":"x"}'


@pytest.mark.parametrize("wrong", [Stranger("x"), Delta(5), {"text": "x"}, ServerSentEvent("x")], ids=str)  # type: ignore[arg-type]  # on purpose
async def test_a_wrong_event_never_leaves_and_the_stream_is_cut(
    wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(streaming(Delta | Done, Delta("a"), wrong, Done(1))) as agent:
        async with agent.http.post("/invocations") as answer:
            assert await answer.content.readuntil(b"\n\n") == b'event: delta\ndata: {"text":"a"}\n\n'
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.readuntil(b"\n\n")
    assert "Agent gave an event, a " in caplog.text


async def test_a_wrong_first_event_is_a_500() -> None:
    async with in_process(streaming(Delta, Stranger("x"))) as agent:
        async with agent.http.post("/invocations") as answer:
            assert answer.status == 500


async def test_a_stream_may_set_headers_ids_and_names_of_events() -> None:
    head = web.StreamResponse(headers={"x-model": "small"})
    event = ServerSentEvent(Delta("b"), event="piece", id="7", retry=3)
    async with in_process(streaming(Delta, head, Delta("a"), event, ServerSentEvent(Delta("c")))) as agent:
        async with agent.http.post("/invocations") as answer:
            assert answer.headers["x-model"] == "small"
            assert answer.content_type == "text/event-stream"
            assert await answer.text() == (
                'event: delta\ndata: {"text":"a"}\n\n'
                'event: piece\nid: 7\nretry: 3\ndata: {"text":"b"}\n\n'
                'event: delta\ndata: {"text":"c"}\n\n'
            )


@pytest.mark.parametrize("character", ["\0", "\r", "\n"])
@pytest.mark.parametrize("member", ["event", "id"])
async def test_no_event_has_a_line_break_or_a_nul_in_its_fields(member: str, character: str) -> None:
    class Agent(InvocationHandler[Any, Delta]):
        def __init__(self, request: web.Request) -> None:
            self._late = "late" in request.query

        async def handle(
            self, request: Any, context: InvocationContext
        ) -> AsyncIterator[Delta | ServerSentEvent]:
            if self._late:
                yield Delta("first")
            fields: dict[str, Any] = {member: f"1{character}data: forged"}
            yield ServerSentEvent(Delta("x"), **fields)

    async with in_process(Agent) as agent:
        async with agent.http.post("/invocations") as answer:
            assert (answer.status, "forged" in await answer.text()) == (500, False)
        async with agent.http.post("/invocations?late") as answer:
            assert b"first" in await answer.content.readuntil(b"\n\n")
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.readuntil(b"\n\n")


async def test_types_without_a_class_are_events_without_a_name() -> None:
    async with in_process(streaming(dict[str, int], {"a": 1}, {"b": 2})) as agent:
        async with agent.http.post("/invocations") as answer:
            assert await answer.text() == 'data: {"a":1}\n\ndata: {"b":2}\n\n'


async def test_a_stream_of_nothing_is_a_stream_of_events() -> None:
    async with in_process(streaming(Delta)) as agent:
        async with agent.http.post("/invocations") as answer:
            assert (answer.status, answer.content_type, await answer.read()) == (
                200,
                "text/event-stream",
                b"",
            )


async def test_a_response_of_the_handlers_own_goes_out_as_it_is() -> None:
    async with in_process(replying(Reply, web.Response(status=202, text="later"))) as agent:
        async with agent.http.post("/invocations") as answer:
            assert (answer.status, await answer.text()) == (202, "later")


async def test_a_handler_may_take_the_raw_request_and_give_objects() -> None:
    class Agent(InvocationHandler[web.Request, Reply]):
        async def handle(self, request: web.Request, context: InvocationContext) -> Reply:
            return Reply(await request.text())

    async with in_process(Agent) as agent:
        async with agent.http.post("/invocations", data="hello") as answer:
            assert await answer.json() == {"said": "hello"}


async def test_the_constructor_may_ask_for_the_raw_request() -> None:
    class Agent(InvocationHandler[dict[str, int], Reply]):
        def __init__(self, request: web.Request) -> None:
            self._request = request

        async def handle(self, request: dict[str, int], context: InvocationContext) -> Reply:
            return Reply(self._request.headers["x-client-name"] + str(request["a"]))

    async with in_process(Agent) as agent:
        async with agent.http.post("/invocations", json={"a": 1}, headers={"x-client-name": "me"}) as answer:
            assert await answer.json() == {"said": "me1"}


async def test_the_stream_of_a_handler_ends_with_its_client_or_an_error() -> None:
    ended: list[str] = []

    class Agent(InvocationHandler[Any, Delta]):
        async def handle(self, request: Any, context: InvocationContext) -> AsyncIterator[Delta]:
            try:
                yield Delta("a")
                yield Delta(5)  # type: ignore[arg-type]  # on purpose
            finally:
                ended.append("handle")

    async with in_process(Agent) as agent:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with agent.http.post("/invocations") as answer:
                await answer.read()
    assert ended == ["handle"]


async def test_an_error_that_is_meant_for_the_client_reaches_it() -> None:
    class Agent(InvocationHandler[Any, Reply]):
        async def handle(self, request: Any, context: InvocationContext) -> Reply:
            raise BadRequestError("Not today")

    async with in_process(Agent) as agent:
        async with agent.http.post("/invocations") as answer:
            assert await answer.json() == {"error": {"code": "invalid_request", "message": "Not today"}}
