"""The OpenAPI documents of twenty-five contracts, read by other people's tools."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator

from agentserver import InvocationContext, InvocationHandler, map_invocations_server
from agentserver._typed.shapes import is_array, is_object
from agentserver.invocations._handler_definition import define
from agentserver.invocations._typed_documents import openapi_of
from agentserver.testing import in_process
from agentserver.wire import OPENAPI_ROUTE
from tests.servers import ROOT
from tests.typed.contracts import CONTRACTS, agent_of


async def document_of(handler: type[InvocationHandler]) -> Any:
    async with in_process(handler) as agent, agent.http.get(OPENAPI_ROUTE) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json"), await answer.text()
        return await answer.json()


def within(value: Any) -> Iterator[tuple[str, Any]]:
    if is_object(value):
        yield from value.items()
        value = list(value.values())
    for item in value if is_array(value) else ():
        yield from within(item)


def resolve(document: Any, reference: str) -> Any:
    here = document
    for step in reference.removeprefix("#/").split("/"):
        here = here[step.replace("~1", "/").replace("~0", "~")]
    return here


def azd_finds(document: Any) -> Any:
    """A port of how azd looks for a payload; it follows no reference and takes an ``example`` alone."""
    content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    if "example" in content:
        return content["example"]
    schema = content["schema"]
    if "example" in schema or "$ref" in schema:
        return schema.get("example")
    return {name: schema["properties"][name]["example"] for name in schema["required"]}


@pytest.mark.parametrize("name", CONTRACTS)
async def test_a_document_is_valid_and_its_example_is_accepted(name: str) -> None:
    handler = agent_of(name)
    document = await document_of(handler)
    OpenAPIV31SpecValidator(document).validate()
    for key, value in within(document):
        if key == "$ref":
            assert resolve(document, value) is not None
        elif key == "mapping":
            assert all(resolve(document, target) for target in value.values())
    payload = azd_finds(document)
    media = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    checker: Any = jsonschema.Draft202012Validator({**media["schema"], "components": document["components"]})
    checker.validate(payload)
    async with in_process(handler) as agent, agent.http.post("/invocations", json=payload) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("name", CONTRACTS)
async def test_version_3_2_has_a_schema_for_each_event(name: str) -> None:
    document = await document_of(agent_of(name, "3.2"))
    OpenAPIV32SpecValidator(document).validate()
    content = document["paths"]["/invocations"]["post"]["responses"]["200"]["content"]
    if CONTRACTS[name][2]:
        assert "itemSchema" in content["text/event-stream"]
    else:
        assert "schema" in content["application/json"]


async def test_classes_of_one_name_are_two_components() -> None:
    names = set((await document_of(agent_of("namesakes")))["components"]["schemas"])
    assert names == {"tests.typed.kinds.Reply", "tests.typed.contracts.Reply"}
    assert set((await document_of(agent_of("engines")))["components"]["schemas"]) == {"Named", "Named_2"}


async def test_equal_contracts_have_equal_schemas_but_for_their_names() -> None:
    from tests.typed.kinds import KINDS, echo
    from tests.typed.test_bodies import AsModel

    schemas: list[Any] = []
    for kind in [*KINDS, AsModel]:
        document = await document_of(echo(kind))
        schema = document["components"]["schemas"][kind.__name__]
        schemas.append(_normal(schema))
    first = schemas[0]
    for schema in schemas[1:]:
        defaults = {name: {**part} for name, part in schema["properties"].items()}
        for name, part in defaults.items():
            if "default" not in part and "default" in first["properties"][name]:
                part["default"] = first["properties"][name]["default"]  # a TypedDict has none
        assert {**schema, "properties": defaults} == first


def _normal(schema: Any) -> Any:
    properties = {
        name: {
            key: value
            for key, value in part.items()
            if key != "title" and (key, "enum" in part) != ("type", True)
        }
        for name, part in schema["properties"].items()
    }
    return {"type": schema["type"], "required": schema["required"], "properties": properties}


async def test_a_prefix_stands_in_servers_and_not_in_the_path() -> None:
    from aiohttp.test_utils import TestClient, TestServer

    app = web.Application()
    map_invocations_server(app, agent_of("plain"), prefix="/v1", environment=None)
    outer = web.Application()
    outer.add_subapp("/team", app)
    async with TestClient(TestServer(outer)) as client:
        async with client.get("/team/v1" + OPENAPI_ROUTE) as answer:
            document = await answer.json()
        assert document["servers"] == [{"url": "/team/v1"}]
        assert list(document["paths"]) == ["/invocations"]
        async with client.post("/team/v1/invocations", json=azd_finds(document)) as answer:
            assert answer.status == 200


async def test_a_document_of_the_handlers_own_wins() -> None:
    class Agent(agent_of("plain")):  # type: ignore[misc]  # made above
        async def get_openapi(self, request: web.Request) -> Any:
            return {"openapi": "mine"}

    assert await document_of(Agent) == {"openapi": "mine"}


async def test_docstrings_are_descriptions() -> None:
    class Agent(agent_of("tagged")):  # type: ignore[misc]  # made above
        """Keeps pets."""

        async def handle(self, request: Any, context: InvocationContext) -> Any:
            """Feed one."""

        async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
            return None

    document = await document_of(Agent)
    assert document["info"] == {"title": "Agent", "version": "1.0.0", "description": "Keeps pets."}
    assert document["paths"]["/invocations"]["post"]["description"] == "Feed one."
    schemas = document["components"]["schemas"]
    assert schemas["Cat"]["description"] == "Purrs.\n\nA second paragraph,\n    indented."
    assert schemas["Cat"]["properties"]["lives"]["description"] == "How many are left."
    assert list(document["paths"]) == ["/invocations", "/invocations/{invocation_id}"]


PRINT = """
import asyncio, json, sys
sys.path.insert(0, {root!r})
from tests.typed.contracts import CONTRACTS, agent_of
from agentserver._typed.openapi import openapi
from agentserver.invocations._handler_definition import define
from agentserver.invocations._typed_documents import openapi_of
for name in CONTRACTS:
    handler = agent_of(name)
    print(json.dumps(openapi_of(handler, define(handler).contract)))
"""


def test_a_document_is_the_same_in_every_start() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRINT.format(root=str(ROOT))],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(next(iter(printed)).splitlines()) == len(CONTRACTS) == 25
    assert all(json.loads(line)["openapi"] == "3.1.1" for line in next(iter(printed)).splitlines())


def test_a_document_is_the_same_on_every_python() -> None:
    # Those of msgspec alone: pydantic's words may change with its releases, and msgspec's are pinned.
    pydantics = {"model", "models", "mixed", "engines", "union_of_engines"}
    digest = hashlib.sha256()
    for name in sorted(CONTRACTS.keys() - pydantics):
        handler = agent_of(name)
        contract = define(handler).contract
        assert contract is not None
        digest.update(msgspec.json.encode(openapi_of(handler, contract)))
    # Who changes what documents say puts the new digest here; a Python that differs is a mistake.
    assert digest.hexdigest() == "e6596ad4f2d1a3c4322531afdf780c36573b4f701afd5fc1e7d4f30d1f10fb80"
