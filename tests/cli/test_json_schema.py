"""What a body is told before it is sent, and what Tab offers, both by the agent's document."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import jsonschema
import msgspec
import pytest
from msgspec import Meta, Struct

from agentserver._typed.codec import MismatchError
from agentserver._typed.shapes import is_array, is_object
from agentserver.cli.documents import body_of
from agentserver.cli.json_completion import complete_json
from agentserver.cli.json_schema import Schema, fault_of
from agentserver.invocations._handler_definition import define
from agentserver.invocations._typed_documents import openapi_of
from tests.typed.contracts import CONTRACTS, agent_of
from tests.typed.test_bodies import CHANGES, GOOD, Orders
from tests.typed.test_declarations import taking

SCALARS: Final[list[Any]] = [None, True, 0, 1, 3, -1, 1.5, "", "x", "cat", "AB-12", [], {}, [1], {"a": 1}]


def schema_of(handler: Any) -> Schema:
    contract = define(handler).contract
    assert contract is not None
    schema = body_of(json.loads(msgspec.json.encode(openapi_of(handler, contract))))
    assert schema is not None
    return schema


def changed(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.2:
        return chance.choice(SCALARS)
    if is_object(value):
        members = {str(name): changed(item, chance) for name, item in value.items()}
        if members and chance.random() < 0.15:
            members.pop(chance.choice(list(members)))
        return members
    return [changed(item, chance) for item in value] if is_array(value) else value


@pytest.mark.parametrize("name", CONTRACTS)
def test_nothing_is_refused_that_the_document_allows_and_little_else_passes(name: str) -> None:
    schema = schema_of(agent_of(name))
    checker: Any = jsonschema.Draft202012Validator(
        {**schema.own, "components": schema.document["components"]}
    )
    chance = random.Random(18)
    refused = wrong = 0
    for _ in range(60):
        value = changed(schema.own["examples"][0], chance)
        is_refused = fault_of(value, schema) is not None
        is_valid = checker.is_valid(value)
        assert not (is_refused and is_valid), value
        refused += is_refused
        wrong += not is_valid
    assert refused >= 0.9 * wrong


@pytest.mark.parametrize(("change", "target"), CHANGES, ids=str)
def test_the_fault_is_said_as_the_agent_says_it(change: dict[str, Any], target: str) -> None:
    contract = define(Orders).contract
    assert contract is not None
    assert contract.request is not None
    body = GOOD | change
    fault = fault_of(body, schema_of(Orders))
    with pytest.raises(MismatchError) as refused:
        contract.request.decode(json.dumps(body))
    if fault is None:  # a form, such as that of a UUID, is left to the agent
        assert refused.value.message.startswith("expected a ")
        return
    assert field_of(fault.target) == field_of(target), (str(fault), str(refused.value))


def field_of(target: str) -> str:
    return target.split(".")[1].split("[", maxsplit=1)[0]


class Cat(Struct, tag="cat"):
    lives: int


class Dog(Struct, tag="dog"):
    good: bool = True


@dataclass
class Visit:
    pet: Cat | Dog
    colour: Literal["red", "blue"]
    name: Annotated[str, Meta(examples=["Tom"])] = "Tom"
    notes: list[Literal["fed", "washed"]] = field(default_factory=list[Literal["fed", "washed"]])


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("", ['{"pet": {"type": "cat", "lives": 1}, "colour": "blue", "name": "Tom"}', "{"]),
        ("{", ['"pet": ', '"colour": ', '"name": ', '"notes": ']),
        ('{"na', ['"name": ']),
        ('{"name"', [": "]),
        ('{"colour": ', ['"blue"', '"red"']),
        ('{"colour":"b', ['"blue"']),
        ('{"colour": "red"', [", "]),
        ('{"colour": "red", "pe', ['"pet": ']),
        ('{"pet": {', ['"type": ', '"lives": ', '"good": ']),
        ('{"pet": {"type": ', ['"cat"', '"dog"']),
        ('{"pet": {"type": "dog", ', ['"good": ', "}"]),
        ('{"pet": {"type": "dog", "good": t', ["true"]),
        ('{"pet": {"type": "cat"', [", "]),
        ('{"pet": {"type": "cat", "lives": 9}, "colour": "red"', [", ", "}"]),
        ('{"notes": [', ['"fed"', '"washed"']),
        ('{"notes": ["fed"', [", ", "]"]),
        ('{"nothing": ', []),
        ('{"pet": 1}', []),
        ("hello", []),
        ("]", []),
    ],
)
def test_tab_offers_what_may_follow(text: str, offered: list[str]) -> None:
    replaced, found = complete_json(text, schema_of(taking(Visit)))
    assert found == offered
    assert all(each.startswith(text[len(text) - replaced :]) for each in found)


@pytest.mark.parametrize("name", CONTRACTS)
def test_whoever_follows_what_tab_offers_writes_what_the_agent_takes(name: str) -> None:
    schema = schema_of(agent_of(name))
    _, offered = complete_json("", schema)
    assert fault_of(json.loads(offered[0]), schema) is None
    for cut in range(1, len(offered[0]), 7):
        complete_json(offered[0][:cut], schema)


def test_a_schema_that_means_nothing_refuses_nothing() -> None:
    for own in ({}, {"$ref": "#/nowhere"}, {"$ref": "#/loop"}, {"pattern": "(", "type": "string"}):
        assert fault_of("x", Schema(own, {"loop": {"$ref": "#/loop"}})) is None
