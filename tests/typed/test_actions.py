"""Actions whose payloads and answers are objects."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import jsonschema
import msgspec
import pydantic
import pytest
import yaml
from msgspec import Meta, Struct

from agentserver import ActionContext, InvocationActionHandler, InvocationContext, StartupError
from agentserver.actions._codec import decode_action
from agentserver.actions.frames import FrameError, Invoke
from agentserver.errors import InvocationError
from agentserver.invocations._handler_definition import define
from agentserver.testing import in_process
from agentserver.wire import ACTIONS_OPENAPI_ROUTE, ACTIONS_ROUTE
from tests.typed.test_openapi import resolve, within


@dataclass
class Count:
    to: Annotated[int, Meta(ge=1, le=100, examples=[3])]
    word: str = "number"


class Number(Struct, tag=True):
    number: int


class Word(Struct, tag=True):
    word: str


class Counter(InvocationActionHandler[Count, Number | Word]):
    """Counts."""

    async def invoke(self, payload: Count, context: ActionContext) -> AsyncIterator[Number | Word]:
        for number in range(1, payload.to + 1):
            yield Number(number)
        if payload.word == "wrong":
            yield Word(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose
        yield Word(payload.word)


class Model(pydantic.BaseModel):
    name: str


class Greeter(InvocationActionHandler):
    async def invoke(self, payload: Model, context: ActionContext) -> Model:
        return Model(name=f"hello {payload.name}")

    async def handle(self, request: Model, context: InvocationContext) -> Model:
        return request

    async def get_invocation(self, context: ActionContext) -> dict[str, int]:
        return {"done": 1}


BAD: Final[list[tuple[Any, str]]] = [
    ({}, "$.to"),
    ({"to": "SeCrEt"}, "$.to"),
    ({"to": None}, "$.to"),
    ({"to": 0}, "$.to"),
    ({"to": 71077345}, "$.to"),
    ({"to": 1, "word": 71077345}, "$.word"),
    ({"to": 1.5}, "$.to"),
    ({"to": 1, "word": "\ud800"}, "$"),
]


async def invoke(socket: Any, payload: Any, invocation_id: str = "i") -> list[Any]:
    action = {"action": "invoke", "invocation_id": invocation_id, "session_id": "s", "payload": payload}
    await socket.send_str(json.dumps(action))
    answers: list[Any] = []
    while not answers or answers[-1]["type"] == "stream_chunk":
        answers.append(await socket.receive_json())
    return answers


@pytest.mark.parametrize("path", ["/invocations_ws", ACTIONS_ROUTE])
async def test_payloads_become_objects_and_objects_chunks(path: str) -> None:
    async with in_process(Counter) as agent, agent.http.ws_connect(path) as socket:
        assert await invoke(socket, {"to": 2, "word": "Grüße"}) == [
            *(
                {"type": "stream_chunk", "invocation_id": "i", "session_id": "s", "payload": payload}
                for payload in (
                    {"type": "Number", "number": 1},
                    {"type": "Number", "number": 2},
                    {"type": "Word", "word": "Grüße"},
                )
            ),
            {"type": "stream_end", "invocation_id": "i", "session_id": "s"},
        ]


async def test_a_bad_payload_gets_an_error_frame_and_the_connection_goes_on() -> None:
    async with in_process(Counter) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        for payload, target in BAD:
            (answer,) = await invoke(socket, payload)
            assert (answer["type"], answer["invocation_id"]) == ("error", "i")
            error = answer["error"]
            assert (error["code"], error["target"]) == ("invalid_request", target), error
            assert "SeCrEt" not in json.dumps(answer)
            assert "71077345" not in json.dumps(answer)
            assert (await invoke(socket, error["example"]))[-1]["type"] == "stream_end"


async def test_a_wrong_chunk_never_leaves_and_the_log_says_where(caplog: pytest.LogCaptureFixture) -> None:
    async with in_process(Counter) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        answers = await invoke(socket, {"to": 1, "word": "wrong"})
        assert [answer["type"] for answer in answers] == ["stream_chunk", "error"]
        assert answers[1]["error"] == {"code": "internal_error", "message": "Internal server error"}
        assert len(await invoke(socket, {"to": 1})) == 3
    assert "Counter gave a chunk, a Word, that is not what it says: $.word" in caplog.text


async def test_an_action_may_answer_once_beside_typed_http() -> None:
    async with in_process(Greeter) as agent:
        async with agent.http.ws_connect("/invocations_ws") as socket:
            assert await invoke(socket, {"name": "you"}) == [
                {"type": "result", "invocation_id": "i", "session_id": "s", "payload": {"name": "hello you"}}
            ]
            assert (await invoke(socket, {"name": 5}))[0]["error"]["target"] == "$.name"
            await socket.send_json({"action": "get_invocation", "invocation_id": "i"})
            assert (await socket.receive_json())["payload"] == {"done": 1}
        async with agent.http.post("/invocations", json={"name": 5}) as answer:
            assert answer.status == 400
        async with agent.http.get(ACTIONS_OPENAPI_ROUTE) as answer:
            document = await answer.json()
        assert (document["openapi"], document["servers"]) == ("3.1.1", [{"url": "/"}])


async def test_the_document_is_served_and_every_reference_resolves() -> None:
    for handler in (Counter, Greeter):
        async with in_process(handler) as agent:
            async with agent.http.get("/invocations/docs/asyncapi.json") as answer:
                document = await answer.json()
            async with agent.http.get("/invocations/docs/asyncapi.yaml") as answer:
                assert yaml.safe_load(await answer.text()) == document
        channels = document["channels"].values()
        assert [channel["address"] for channel in channels] == ["/invocations_ws", ACTIONS_ROUTE]
        for key, value in within(document):
            assert key != "$ref" or resolve(document, value) is not None


STRANGE: Final[list[Any]] = [None, [], 5, "x", {}]


def frame(chance: random.Random) -> Any:
    made: dict[str, Any] = {
        "action": chance.choice(["invoke", "invoke", "invoke", "get_invocation", "ping", "dance", 5]),
        "invocation_id": chance.choice(["i-1", "", "a b", 5, None]),
        "payload": chance.choice([{"to": 3}, {"to": 3, "word": "x"}, {"to": 0}, {"to": "3"}, {}, [], 5]),
    }
    for name in list(made):
        if chance.random() < 0.15:
            del made[name]
    return made if chance.random() < 0.95 else chance.choice(STRANGE)


def test_300_random_frames_are_taken_exactly_if_the_document_says_so() -> None:
    messages = define(Counter).messages
    assert messages is not None
    document = json.loads(msgspec.json.encode(messages.document()))
    names = [each["$ref"].rpartition("/")[2] for each in document["operations"]["receive"]["messages"]]
    payloads = [document["components"]["messages"][name]["payload"] for name in names]
    checker: Any = jsonschema.Draft7Validator({"anyOf": payloads, "components": document["components"]})
    chance = random.Random(18)
    taken = 0
    for _ in range(300):
        sent = frame(chance)
        try:
            action = decode_action(json.dumps(sent))
            if isinstance(action, Invoke):
                messages.contract.read_object(action.payload)
        except (FrameError, InvocationError):
            is_taken = False
        else:
            is_taken = True
        assert is_taken == checker.is_valid(sent), sent
        taken += is_taken
    assert 50 < taken < 250


async def test_what_goes_out_is_what_the_document_says() -> None:
    messages = define(Counter).messages
    assert messages is not None
    document = json.loads(msgspec.json.encode(messages.document()))
    names = [each["$ref"].rpartition("/")[2] for each in document["operations"]["send"]["messages"]]
    sent = {name: document["components"]["messages"][name]["payload"] for name in names}
    async with in_process(Counter) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        answers = [*await invoke(socket, {"to": 1}), *await invoke(socket, {})]
        await socket.send_json({"action": "ping"})
        answers.append(await socket.receive_json())
        await socket.send_json({"action": "cancel_invocation", "invocation_id": "x"})
        answers.append(await socket.receive_json())
    for answer in answers:
        checkers: dict[str, Any] = {
            name: jsonschema.Draft7Validator({**schema, "components": document["components"]})
            for name, schema in sent.items()
        }
        fitting = [name for name, checker in checkers.items() if checker.is_valid(answer)]
        assert len(fitting) == 1, (answer, fitting)


class Raw(InvocationActionHandler):
    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncIterator[Count]:
        yield Count(1)


class RawDictionary(InvocationActionHandler):
    async def invoke(self, payload: dict[str, Any], context: ActionContext) -> Any:
        return payload


@pytest.mark.parametrize("handler", [Raw, RawDictionary])
def test_a_handler_that_takes_the_payload_has_no_types(handler: type[InvocationActionHandler]) -> None:
    assert define(handler).messages is None


class OfLists(InvocationActionHandler[list[int], Number]):
    async def invoke(self, payload: list[int], context: ActionContext) -> Number:
        return Number(1)


class Untagged(InvocationActionHandler[Count, Count | Model]):
    async def invoke(self, payload: Count, context: ActionContext) -> AsyncIterator[Count | Model]:
        yield payload


class Other(InvocationActionHandler[Count, Number]):
    async def invoke(self, payload: Count, context: ActionContext) -> Word:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # on purpose
        return Word("")


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (OfLists, "OfLists takes list[int], but the payload of an action is a JSON object"),
        (Untagged, "nothing tells Count and Model apart"),
        (Other, "says Number in its base class and Word in invoke"),
    ],
)
def test_what_cannot_work_is_one_sentence_at_start_up(
    handler: type[InvocationActionHandler], words: str
) -> None:
    with pytest.raises(StartupError) as refused:
        define(handler)
    assert words in str(refused.value)
