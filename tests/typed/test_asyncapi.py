"""The AsyncAPI document of a WebSocket says what its decoder takes."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from aiohttp import web

from agentserver import InvocationContext, InvocationWebSocketHandler
from agentserver._typed.codec import MismatchError
from agentserver._typed.yaml_text import yaml_of
from agentserver.invocations._handler_definition import define
from agentserver.testing import in_process
from tests.typed.contracts import CONTRACTS, Cat, Dog, Fly, Walk
from tests.typed.kinds import AsDataclass, Delta
from tests.typed.test_openapi import resolve, within
from tests.typed.test_websockets import Talk


def talking(taken: Any, given: Any) -> type[InvocationWebSocketHandler]:
    class Agent(InvocationWebSocketHandler[taken, given]):
        """Talks."""

        async def handle_websocket(self, websocket: Any, context: InvocationContext) -> None:
            return

    return Agent


def document_of(handler: type[InvocationWebSocketHandler]) -> Any:
    messages = define(handler).messages
    assert messages is not None
    return json.loads(msgspec.json.encode(messages.document()))


async def test_it_is_served_as_json_and_as_yaml() -> None:
    async with in_process(Talk) as agent:
        async with agent.http.get("/invocations/docs/asyncapi.json") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            document = await answer.json()
        async with agent.http.get("/invocations/docs/asyncapi.yaml") as answer:
            assert (answer.status, answer.content_type) == (200, "application/yaml")
            assert yaml.safe_load(await answer.text()) == document
        async with agent.http.get("/invocations/docs/openapi.json") as answer:
            assert answer.status == 404
    assert document["asyncapi"] == "3.0.0"
    assert set(document["components"]["messages"]) == {"Hello", "Number", "Text", "InvalidMessage"}


async def test_a_document_of_the_handlers_own_wins() -> None:
    class Agent(Talk):
        async def get_asyncapi_json(self, request: web.Request) -> Any:
            return {"asyncapi": "mine"}

        async def get_asyncapi_yaml(self, request: web.Request) -> Any:
            return "asyncapi: mine"

    async with in_process(Agent) as agent:
        async with agent.http.get("/invocations/docs/asyncapi.json") as answer:
            assert await answer.json() == {"asyncapi": "mine"}
        async with agent.http.get("/invocations/docs/asyncapi.yaml") as answer:
            assert await answer.text() == "asyncapi: mine"


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name != "union_of_engines"])
def test_every_reference_resolves_and_yaml_says_the_same(name: str) -> None:
    document = document_of(talking(CONTRACTS[name][0], CONTRACTS[name][0]))
    for key, value in within(document):
        if key == "$ref":
            assert resolve(document, value) is not None
        assert key != "prefixItems"
    assert yaml.safe_load(yaml_of(document)) == document


FRAMES: list[dict[str, Any]] = [
    {"type": "hello", "name": "x"},
    {"type": "number", "value": 1},
    {"kind": "walk", "steps": 1},
    {"kind": "fly", "height": 1.5},
    {"type": "cat", "lives": 3},
    {"type": "dog", "goodBoy": True},
    {"message": "x", "times": 2, "language": "fr"},
]
VALUES: list[Any] = [None, True, 0, 1, 3, 9, 10, -1, 1.5, "", "x", "hello", "walk", "cat", "en", [], {}, [1]]


def frame(chance: random.Random) -> Any:
    if chance.random() < 0.1:
        return chance.choice(VALUES)
    made: dict[str, Any] = dict(chance.choice(FRAMES))
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        name = chance.choice(list(made) or ["type"])
        if chance.random() < 0.3:
            made.pop(name, None)
        else:
            made[name] = chance.choice(VALUES)
    return made


@pytest.mark.parametrize(
    "handler",
    [Talk, talking(Walk | Fly, Delta), talking(Cat | Dog, Delta), talking(AsDataclass, Delta)],
    ids=["literal", "literals", "tags", "constraints"],
)
def test_300_random_frames_are_taken_exactly_if_the_document_says_so(
    handler: type[InvocationWebSocketHandler],
) -> None:
    document = document_of(handler)
    names = [each["$ref"].rpartition("/")[2] for each in document["operations"]["receive"]["messages"]]
    payloads = [document["components"]["messages"][name]["payload"] for name in names]
    checker: Any = jsonschema.Draft7Validator({"anyOf": payloads, "components": document["components"]})
    messages = define(handler).messages
    assert messages is not None
    assert messages.contract.request is not None
    chance = random.Random(18)
    taken = 0
    for _ in range(300):
        sent = frame(chance)
        try:
            messages.contract.request.decode(json.dumps(sent))
        except MismatchError:
            is_taken = False
        else:
            is_taken = True
        assert is_taken == checker.is_valid(sent), sent
        taken += is_taken
    assert taken > 5


@pytest.mark.parametrize(
    "value",
    [
        {"a": {}, "b": [], "c": [[1, [2]], {"d": None}], "": "", "no": "yes", "1": 1},
        [
            "# no comment",
            "- no item",
            "a: b",
            "'",
            '"',
            "\\",
            "\n\t\x00",
            "\x7f\x85\u2028\ufeff",
            "\U0001f600",
        ],
        [1, -1.5, 1e300, 1e-7, 1e16, True, False, None, "null", "1e5", "2026-01-31"],
        "text",
        [],
    ],
    ids=str,
)
def test_yaml_reads_back_as_it_was(value: Any) -> None:
    assert yaml.safe_load(yaml_of(value)) == value
