"""The OpenAPI document of a handler with types, 3.1 or 3.2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from agentserver._typed.contract import Contract
from agentserver._typed.schemas import schemas_for
from agentserver.wire import (
    CANCEL_ROUTE,
    ID_PATTERN,
    INVOCATION_ID_HEADER,
    INVOCATION_ROUTE,
    INVOCATIONS_ROUTE,
    SESSION_ID_HEADER,
    SESSION_ID_QUERY,
)

VERSIONS: Final[Mapping[str, str]] = {"3.1": "3.1.1", "3.2": "3.2.0"}
JSON: Final = "application/json"
_ID: Final = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
FAILED: Final = {
    "description": "What went wrong.",
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["code", "message"],
                        "properties": {
                            "code": {"type": "string", "description": "A word for programs."},
                            "message": {"type": "string", "description": "A sentence for people."},
                            "target": {"type": "string", "description": "The JSON path of what is wrong."},
                            "example": {"description": "A body that is valid."},
                        },
                    }
                },
            }
        }
    },
}


class About(NamedTuple):
    """What a document says of the agent beside its types.

    Args:
        title: The handler's name.
        description: What it says of itself; empty if nothing.
        operation: What ``handle`` says of itself; empty if nothing.
        version: The agent's.
        server: The path before all routes.
        also: Which of ``get`` and ``cancel`` it answers.
    """

    title: str
    description: str
    operation: str
    version: str
    server: str
    also: Sequence[str]


def openapi(contract: Contract, about: About, version: str = "3.1") -> dict[str, Any]:
    """Write the document.

    Args:
        contract: The handler's types.
        about: The rest.
        version: ``"3.1"`` or ``"3.2"``.
    """
    codecs = [codec for codec in (contract.request, contract.reply) if codec is not None]
    schemas = schemas_for(codecs)
    answer = len(codecs) - 1
    content: dict[str, Any] = {"*/*": {}}
    if contract.reply is not None and contract.streams:
        event = _event_schema(contract, schemas.leaves[answer])
        content = {"text/event-stream": {"itemSchema" if version == "3.2" else "schema": event}}
    elif contract.reply is not None:
        content = {JSON: {"schema": schemas.whole[answer]}}
    body: dict[str, Any] = {"*/*": {}}
    if contract.request is not None:
        examples = [{"example": example} for example in contract.examples]
        body = {JSON: {"schema": schemas.whole[0], **(examples[0] if examples else {})}}
    invoke = {
        "operationId": "invoke",
        "summary": "Invoke the agent",
        **({"description": about.operation} if about.operation else {}),
        "parameters": [
            {"name": SESSION_ID_QUERY, "in": "query", "schema": {"type": "string"}},
            {"name": INVOCATION_ID_HEADER, "in": "header", "schema": {"type": "string"}},
        ],
        "requestBody": {"required": True, "content": body},
        "responses": _responses({"description": _answers(contract), "content": content}),
    }
    return {
        "openapi": VERSIONS[version],
        "info": {
            "title": about.title,
            "version": about.version,
            **({"description": about.description} if about.description else {}),
        },
        "servers": [{"url": about.server or "/"}],
        "paths": {INVOCATIONS_ROUTE: {"post": invoke}, **_others(about.also)},
        "components": {"schemas": schemas.components, "responses": {"Failed": FAILED}},
    }


def _answers(contract: Contract) -> str:
    return "The events, as they happen." if contract.streams else "The reply."


def _responses(success: dict[str, Any]) -> dict[str, Any]:
    headers = {name: {"schema": _ID} for name in (INVOCATION_ID_HEADER, SESSION_ID_HEADER)}
    failed = {"$ref": "#/components/responses/Failed"}
    return {"200": {**success, "headers": headers}, "400": failed, "default": failed}


def _others(also: Sequence[str]) -> dict[str, Any]:
    paths = {
        "get": (INVOCATION_ROUTE, "get", "get_invocation", "Ask for an invocation"),
        "cancel": (CANCEL_ROUTE, "post", "cancel_invocation", "Cancel an invocation"),
    }
    found: dict[str, Any] = {}
    for name in also:
        path, method, operation, summary = paths[name]
        parameter = {"name": "invocation_id", "in": "path", "required": True, "schema": {"type": "string"}}
        responses = _responses({"description": "What the agent says of it.", "content": {"*/*": {}}})
        found[path] = {
            method: {
                "operationId": operation,
                "summary": summary,
                "parameters": [parameter],
                "responses": responses,
            }
        }
    return found


def _event_schema(contract: Contract, leaves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    assert contract.reply is not None
    events = contract.reply.events()
    alternatives: list[dict[str, Any]] = []
    for name, number in events:
        data = _of_event(leaves[number], name, alone=len(events) == 1 or len(leaves) > 1)
        properties: dict[str, Any] = {} if name is None else {"event": {"const": name}}
        properties["data"] = {"type": "string", "contentMediaType": JSON, "contentSchema": data}
        properties["id"] = {"type": "string"}
        properties["retry"] = {"type": "integer", "minimum": 0}
        required = ["data"] if name is None else ["event", "data"]
        alternatives.append({"type": "object", "properties": properties, "required": required})
    return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}


def _of_event(schema: dict[str, Any], name: str | None, *, alone: bool) -> dict[str, Any]:
    """The part of a union's *schema* that the event *name* carries."""
    if alone or name is None:
        return schema
    mapping: Mapping[str, str] = schema.get("discriminator", {}).get("mapping", {})
    return {"$ref": mapping[name]} if name in mapping else schema
