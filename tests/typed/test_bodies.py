"""What a handler with types is sent: an object if it fits, else a 400 that says where and shows what fits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import pydantic
import pytest
from msgspec import Meta, Struct

from agentserver import InvocationContext, InvocationHandler
from agentserver.testing import in_process
from tests.typed.kinds import KINDS, echo


class AsModel(pydantic.BaseModel):
    message: Annotated[str, pydantic.Field(min_length=1, examples=["Hello"])]
    times: Annotated[int, pydantic.Field(ge=1, le=3)] = 1
    language: Literal["en", "fr"] = "en"


WRONG: Final[dict[str, str]] = {
    "": "$",
    "{": "$",
    '"hello"': "$",
    "[]": "$",
    "{}": "$.message",
    '{"message": ""}': "$.message",
    '{"message": 71077345}': "$.message",
    '{"message": "SeCrEt", "times": 0}': "$.times",
    '{"message": "SeCrEt", "times": 4}': "$.times",
    '{"message": "SeCrEt", "times": 1.5}': "$.times",
    '{"message": "SeCrEt", "times": "71077345"}': "$.times",
    '{"message": "SeCrEt", "language": "SeCrEt"}': "$.language",
    '{"message": "SeCrEt", "language": null}': "$.language",
}


@pytest.mark.parametrize("kind", [*KINDS, AsModel], ids=lambda kind: kind.__name__)
async def test_one_contract_gives_equal_answers_however_it_is_written(kind: type) -> None:
    async with in_process(echo(kind)) as agent:
        async with agent.http.post("/invocations", data='{"message": "hi", "times": 2, "more": 1}') as answer:
            assert (answer.status, await answer.json()) == (200, {"said": "hihi"})
        for body, target in WRONG.items():
            async with agent.http.post("/invocations", data=body) as answer:
                assert answer.status == 400, body
                text = await answer.text()
            error = json.loads(text)["error"]
            assert error["code"] == "invalid_request"
            assert (error["target"], error["example"]) == (target, {"message": "Hello"}), (body, error)
            assert "SeCrEt" not in text
            assert "71077345" not in text


async def test_the_words_do_not_depend_on_the_kind() -> None:
    said: dict[str, set[str]] = {}
    for kind in [*KINDS, AsModel]:
        async with in_process(echo(kind)) as agent:
            for body in WRONG:
                async with agent.http.post("/invocations", data=body) as answer:
                    said.setdefault(body, set()).add((await answer.json())["error"]["message"])
    assert {body: messages for body, messages in said.items() if len(messages) > 1} == {}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    name: str
    price: Annotated[float, Meta(gt=0)]


class Cat(Struct, tag=True):
    lives: int


class Dog(Struct, tag=True):
    name: str


@dataclass
class Order:
    id: UUID
    when: datetime
    items: Annotated[list[Item], Meta(min_length=1, max_length=2)]
    pair: tuple[int, str]
    colour: Colour
    pet: Cat | Dog
    code: Annotated[str, Meta(pattern="^[A-Z]{3}$", examples=["ABC"])]
    even: Annotated[int, Meta(multiple_of=2)]
    counts: dict[str, int] = field(default_factory=dict[str, int])
    note: str | None = None
    parent: Order | None = None


class Orders(InvocationHandler[Order, dict[str, str]]):
    async def handle(self, request: Order, context: InvocationContext) -> dict[str, str]:
        return {"id": str(request.id)}


GOOD: Final[dict[str, Any]] = {
    "id": "123e4567-e89b-12d3-a456-426614174000",
    "when": "2026-01-31T12:00:00Z",
    "items": [{"name": "x", "price": 1}],
    "pair": [1, "x"],
    "colour": "red",
    "pet": {"type": "Cat", "lives": 9},
    "code": "ABC",
    "even": 2,
}
CHANGES: Final[list[tuple[dict[str, Any], str]]] = [
    ({"id": "SeCrEt"}, "$.id"),
    ({"id": 71077345}, "$.id"),
    ({"when": "SeCrEt"}, "$.when"),
    ({"when": {}}, "$.when"),
    ({"items": []}, "$.items"),
    ({"items": [1, 2, 3]}, "$.items[0]"),
    ({"items": {"SeCrEt": 1}}, "$.items"),
    ({"items": [{"name": "SeCrEt"}]}, "$.items[0].price"),
    ({"items": [{"name": "SeCrEt", "price": 0}]}, "$.items[0].price"),
    ({"items": [{"name": "SeCrEt", "price": "71077345"}]}, "$.items[0].price"),
    ({"items": [{"name": "a", "price": 1}, {"name": [], "price": 1}]}, "$.items[1].name"),
    ({"pair": [1]}, "$.pair"),
    ({"pair": ["SeCrEt", "SeCrEt"]}, "$.pair[0]"),
    ({"pair": [1, 71077345]}, "$.pair[1]"),
    ({"colour": "SeCrEt"}, "$.colour"),
    ({"colour": 71077345}, "$.colour"),
    ({"pet": {}}, "$.pet.type"),
    ({"pet": {"type": "SeCrEt"}}, "$.pet.type"),
    ({"pet": {"type": 71077345}}, "$.pet.type"),
    ({"pet": {"type": "Dog"}}, "$.pet.name"),
    ({"pet": {"type": "Cat", "lives": "SeCrEt"}}, "$.pet.lives"),
    ({"code": "SeCrEt"}, "$.code"),
    ({"even": 71077345}, "$.even"),
    ({"even": True}, "$.even"),
    ({"counts": {"SeCrEt": "SeCrEt"}}, "$.counts[...]"),
    ({"counts": []}, "$.counts"),
    ({"note": 71077345}, "$.note"),
    ({"parent": "SeCrEt"}, "$.parent"),
    ({"parent": {"id": "SeCrEt"}}, "$.parent.id"),
    ({"parent": GOOD | {"even": 71077345}}, "$.parent.even"),
]


async def test_every_wrong_body_is_told_where_and_its_example_is_right() -> None:
    assert len(CHANGES) + len(WRONG) >= 40
    async with in_process(Orders) as agent:
        async with agent.http.post("/invocations", json=GOOD) as answer:
            assert answer.status == 200, await answer.text()
        for change, target in CHANGES:
            async with agent.http.post("/invocations", json=GOOD | change) as answer:
                text = await answer.text()
                assert answer.status == 400, change
            error = json.loads(text)["error"]
            assert error["target"] == target, error
            assert "fit" not in error["message"], error  # the general words, when nothing better is known
            assert "SeCrEt" not in text
            assert "71077345" not in text
            async with agent.http.post("/invocations", json=error["example"]) as answer:
                assert answer.status == 200, error


async def test_a_body_that_is_too_deep_or_no_text_is_refused() -> None:
    async with in_process(Orders) as agent:
        for body in (b'{"parent":' * 100_000, b'{"id": "\xff"}', b"\x00"):
            async with agent.http.post("/invocations", data=body) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]["target"] in ("$", "$.id")


@dataclass
class Checked:
    name: str

    def __post_init__(self) -> None:
        if self.name != "text":
            raise ValueError("SeCrEt words of our own")


class CheckedModel(pydantic.BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        if name != "text":
            raise ValueError("SeCrEt words of our own")
        return name


@pytest.mark.parametrize("kind", [Checked, CheckedModel])
async def test_a_check_of_the_classes_own_is_a_400_and_keeps_its_words(kind: Any) -> None:
    class Agent(InvocationHandler[kind, str]):
        async def handle(self, request: Any, context: InvocationContext) -> str:
            return "taken"

    async with in_process(Agent) as agent:
        async with agent.http.post("/invocations", json={"name": "x"}) as answer:
            text = await answer.text()
            assert answer.status == 400
        assert "SeCrEt" not in text
        async with agent.http.post("/invocations", json=json.loads(text)["error"]["example"]) as answer:
            assert answer.status == 200


class Careful(InvocationHandler[Item, Item]):
    examples = ({"name": "Tea", "price": 2.5}, Item("Milk", 1))

    async def handle(self, request: Item, context: InvocationContext) -> Item:
        return request


async def test_the_handlers_own_example_is_shown() -> None:
    async with in_process(Careful) as agent:
        async with agent.http.post("/invocations", data="[]") as answer:
            assert (await answer.json())["error"]["example"] == {"name": "Tea", "price": 2.5}
