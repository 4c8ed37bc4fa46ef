"""The documents of durable handlers: other people's tools read them, and the agent does what they say."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import aiohttp
import jsonschema
import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator

from agentserver import Durable, InvocationActionHandler, InvocationHandler, Run
from agentserver.cli import main
from agentserver.testing import AgentUnderTest, in_process
from agentserver.wire import ACTIONS_OPENAPI_ROUTE, ASYNCAPI_JSON_ROUTE, ASYNCAPI_YAML_ROUTE, OPENAPI_ROUTE

MEMORY = {"AGENTSERVER_STORE": "memory"}
EVENTS = {"Accept": "text/event-stream"}


@dataclass
class Topic:
    """What is asked."""

    text: str


@dataclass
class Report:
    parts: int


class Writer(InvocationActionHandler, durable=Durable(backoff=0.01, busy="reject")):
    """Writes reports."""

    async def run(self, topic: Topic, run: Run) -> Report:
        """Write one."""
        failed: list[int] = []

        async def fail_once() -> None:
            failed.append(1)
            if len(failed) == 1:
                raise OSError

        await run.step("try", fail_once)
        await run.emit({"part": topic.text})
        if topic.text == "wait":
            await run.wait_for("go")
        return Report(1)


class Anything(InvocationHandler, durable=True):
    """Says nothing of its types."""

    openapi_version = "3.2"

    async def run(self, value: Any, run: Run) -> Any:
        """Answer."""
        return value


class Own(InvocationHandler, durable=True):
    """Writes its document itself."""

    async def run(self, value: Any, run: Run) -> Any:
        """Answer."""
        return value

    async def get_openapi(self, request: web.Request) -> Any:
        """Its own."""
        return {"openapi": "mine"}


@pytest.fixture
async def agent() -> AsyncGenerator[AgentUnderTest, None]:
    async with in_process(Writer, environment=MEMORY) as agent:
        yield agent


async def document_at(agent: AgentUnderTest, path: str) -> Any:
    async with agent.http.get(path) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json"), await answer.text()
        return await answer.json()


class Judge:
    """Holds answers against a document."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self.seen: set[tuple[str, str, str]] = set()

    def whole(self, part: Any) -> Any:
        """What *part* refers to, or it."""
        while "$ref" in part:
            reference, part = part["$ref"], self._document
            for name in reference.removeprefix("#/").split("/"):
                part = part[name]
        return part

    def check(self, schema: Any, value: Any) -> None:
        """Raise unless *value* is as *schema* says."""
        root = {**schema, "components": self._document["components"]}
        checker: Any = jsonschema.Draft202012Validator(root)
        checker.validate(value)

    async def judge(self, answer: aiohttp.ClientResponse) -> Any:
        """The body of *answer*, if all of it is in the document."""
        path = answer.url.path
        for template in self._document["paths"]:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                path = template
        operation = self._document["paths"][path][answer.method.lower()]
        told = self.whole(operation["responses"][str(answer.status)])
        self.seen.add((answer.method, path, str(answer.status)))
        for name, header in told.get("headers", {}).items():
            if name in answer.headers:
                value: Any = answer.headers[name]
                self.check(header["schema"], int(value) if name == "Retry-After" else value)
        schema = told["content"][answer.content_type]["schema"]
        body = await answer.text()
        if answer.content_type != "text/event-stream":
            self.check(schema, json.loads(body))
            return json.loads(body)
        events = [
            dict(line.split(": ", 1) for line in frame.split("\n")) for frame in body.split("\n\n")[:-1]
        ]
        assert events.pop(0) == {"retry": "1000"}
        for event in events:
            self.check(schema, event)
            kinds = [each["properties"] for each in schema["oneOf"]]
            data = json.loads(event["data"])
            named = [kind for kind in kinds if kind.get("event", {}).get("const") == event.get("event")]
            if "event" in event and named:
                self.check(named[0]["data"]["contentSchema"], data)
        return events


async def test_a_durable_handler_does_what_its_document_says(agent: AgentUnderTest) -> None:
    document = await document_at(agent, OPENAPI_ROUTE)
    OpenAPIV31SpecValidator(document).validate()
    judge = Judge(document)
    media = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
    judge.check(media["schema"], media["example"])

    async def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with agent.http.request(method, f"/invocations{path}", json=body, headers=sent) as answer:
            return await judge.judge(answer)

    waiting = {"text": "wait"}
    first = await ask("POST", "?agent_session_id=s", waiting, x_agent_invocation_id="a", idempotency_key="k")
    assert first["status"] == "in_progress"
    assert (await ask("POST", "", waiting, idempotency_key="k"))["invocation_id"] == "a"
    for path, body, code in (
        ("", {"text": "other"}, "idempotency_conflict"),
        ("?agent_session_id=s", waiting, "session_busy"),
        ("", {"text": 1}, "invalid_request"),
        ("", {"text": "x" * 1_000_001}, "payload_too_large"),
    ):
        key = "k" if code == "idempotency_conflict" else "other"
        assert (await ask("POST", path, body, idempotency_key=key))["error"]["code"] == code
    assert (await ask("GET", "/a"))["status"] == "in_progress"
    assert (await ask("GET", "/a?last_event_id=x", **EVENTS))["error"]["code"] == "invalid_request"
    assert (await ask("GET", "/b"))["error"]["code"] == "not_found"
    assert (await ask("POST", "/a/signal", {"name": ""}))["error"]["code"] == "invalid_request"
    assert (await ask("POST", "/a/signal", {"name": "go", "payload": 1}))["status"] == "accepted"
    events = await ask("GET", "/a", **EVENTS)
    assert [event.get("event") for event in events] == ["run_start", "step_retry", None, "completed", "done"]
    assert (await ask("GET", "/a"))["output"] == {"parts": 1}
    assert (await ask("POST", "", waiting, idempotency_key="k"))["status"] == "completed"
    assert (await ask("POST", "/a/signal", {"name": "go"}))["error"]["code"] == "run_ended"
    assert (await ask("POST", "/a/cancel"))["status"] == "completed"
    assert (await ask("POST", "/b/cancel"))["error"]["code"] == "not_found"
    await ask("POST", "", waiting, x_agent_invocation_id="c")
    assert (await ask("POST", "/c/cancel"))["status"] == "cancelling"
    assert (await ask("GET", "/c", **EVENTS))[-1]["event"] == "done"
    assert len((await ask("GET", "?limit=1"))["runs"]) == 1
    assert (await ask("GET", "?limit=0"))["error"]["code"] == "invalid_request"
    assert (await ask("POST", "", {"text": "x"}, **EVENTS))[-1]["event"] == "done"
    assert (await ask("POST", "/b/signal", {"name": "go"}))["error"]["code"] == "not_found"
    said = {
        (method.upper(), path, status)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
    }
    # Of events that are gone, of a full session and of a store that is away others tell.
    assert {status for *_, status in said - judge.seen} <= {"410", "413", "429", "503", "default"}


async def test_actions_have_a_document_of_their_own_and_openapi_in_both_places(agent: AgentUnderTest) -> None:
    document = await document_at(agent, ASYNCAPI_JSON_ROUTE)
    messages = document["components"]["messages"]
    assert {"Invoke", "SignalInvocation", "ListInvocations", "StreamChunk", "Error"} <= messages.keys()
    assert messages["Invoke"]["payload"]["properties"]["payload"] == {"$ref": "#/components/schemas/Topic"}
    async with agent.http.get(ASYNCAPI_YAML_ROUTE) as answer:
        assert (await answer.text()).startswith('"asyncapi": "3.0.0"')
    assert await document_at(agent, ACTIONS_OPENAPI_ROUTE) == await document_at(agent, OPENAPI_ROUTE)


async def test_a_handler_without_types_has_one_and_one_of_its_own_wins() -> None:
    async with in_process(Anything, environment=MEMORY) as agent:
        document = await document_at(agent, OPENAPI_ROUTE)
        OpenAPIV32SpecValidator(document).validate()
        assert document["paths"]["/invocations"]["post"]["requestBody"]["content"] == {"application/json": {}}
        async with agent.http.get(ASYNCAPI_JSON_ROUTE) as answer:
            assert answer.status == 404
    async with in_process(Own, environment=MEMORY) as agent:
        assert await document_at(agent, OPENAPI_ROUTE) == {"openapi": "mine"}


def test_the_command_prints_them_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("openapi", "asyncapi"):
        assert main(["docs", f"{__name__}:Writer", f"--{kind}"]) == 0
        assert kind in json.loads(capsys.readouterr().out)
