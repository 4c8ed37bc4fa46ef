"""The OpenAPI document of a durable handler, 3.1 or 3.2: the framework's answers, the handler's types."""

from __future__ import annotations

from typing import Any, Final

from agentserver._typed.contract import Contract
from agentserver._typed.openapi import FAILED, JSON, VERSIONS, About
from agentserver._typed.run_schemas import (
    ID,
    STATUSES,
    begun,
    events,
    record,
    runs,
    snapshot,
    standing,
)
from agentserver._typed.schemas import schemas_for
from agentserver.wire import (
    CANCEL_ROUTE,
    IDEMPOTENCY_HEADERS,
    IDEMPOTENCY_REPLAYED_HEADER,
    INVOCATION_ID_HEADER,
    INVOCATION_ROUTE,
    INVOCATIONS_ROUTE,
    LAST_EVENT_ID_HEADER,
    LAST_EVENT_ID_QUERY,
    SESSION_ID_HEADER,
    SESSION_ID_QUERY,
    SIGNAL_ROUTE,
)

_STREAM: Final = "text/event-stream"
_FAILED: Final = {"$ref": "#/components/responses/Failed"}
_RETRY_AFTER: Final = {"schema": {"type": "integer", "minimum": 0}, "description": "Seconds."}
_IDS: Final = {name: {"schema": ID} for name in (INVOCATION_ID_HEADER, SESSION_ID_HEADER)}
_REPLAYED: Final = {
    IDEMPOTENCY_REPLAYED_HEADER: {"schema": {"const": "true"}, "description": "There was such a run."}
}


def openapi_of_runs(contract: Contract, about: About, version: str = "3.1") -> dict[str, Any]:
    """Write the document; *contract* is of ``run``, the rest is as for `openapi`."""
    codecs = [codec for codec in (contract.request, contract.reply) if codec is not None]
    schemas = schemas_for(codecs)
    output: dict[str, Any] = {} if contract.reply is None else schemas.whole[-1]
    body: dict[str, Any] = {}
    if contract.request is not None:
        body = {"schema": schemas.whole[0]}
        if contract.examples:
            body["example"] = contract.examples[0]
    stream = {"itemSchema" if version == "3.2" else "schema": _event(output)}
    responses = {
        "Failed": FAILED,
        "Snapshot": _answer(
            "How the run stands, or its events above the cursor, to the last.",
            {JSON: {"schema": snapshot(output)}, _STREAM: stream},
            {"Retry-After": {**_RETRY_AFTER, "description": "Seconds; not of a run that has ended."}},
        ),
        "Unavailable": {**FAILED, "headers": {"Retry-After": _RETRY_AFTER}},
    }
    return {
        "openapi": VERSIONS[version],
        "info": {
            "title": about.title,
            "version": about.version,
            **({"description": about.description} if about.description else {}),
        },
        "servers": [{"url": about.server or "/"}],
        "paths": {
            INVOCATIONS_ROUTE: {
                "post": _start(body, {JSON: {"schema": snapshot(output)}, _STREAM: stream}, about.operation),
                "get": _list(),
            },
            INVOCATION_ROUTE: {"get": _get()},
            CANCEL_ROUTE: {"post": _cancel()},
            SIGNAL_ROUTE: {"post": _signal()},
        },
        "components": {"schemas": schemas.components, "responses": responses},
    }


def _start(body: dict[str, Any], ended: dict[str, Any], description: str) -> dict[str, Any]:
    location = {"Location": {"schema": {"type": "string", "format": "uri-reference"}}}
    is_said = bool(body)
    return {
        "operationId": "invoke",
        "summary": "Begin a run, or join the one of this key or id",
        **({"description": description} if description else {}),
        "parameters": [
            _parameter("query", SESSION_ID_QUERY),
            _parameter("header", INVOCATION_ID_HEADER),
            *(_parameter("header", name, ID) for name in IDEMPOTENCY_HEADERS),
        ],
        "requestBody": {"required": is_said, "content": {JSON: body}},
        "responses": {
            "200": _answer(
                "The run's events, from the first, to who accepts them; or how one that was there has ended.",
                ended,
                _REPLAYED,
            ),
            "202": _answer(
                "The run is stored, and goes on without you.",
                {JSON: {"schema": begun()}},
                {**location, "Retry-After": _RETRY_AFTER, **_REPLAYED},
            ),
            **_failures("400", "409", "413"),
            "429": {"$ref": "#/components/responses/Unavailable"},
        },
    }


def _list() -> dict[str, Any]:
    limit = {"type": "integer", "minimum": 1, "maximum": 500, "default": 50}
    told = {"description": "The caller's own runs, newest first.", "content": {JSON: {"schema": runs()}}}
    return {
        "operationId": "list_invocations",
        "summary": "List runs",
        "parameters": [
            _parameter("query", "status", {"enum": list(STATUSES)}),
            _parameter("query", SESSION_ID_QUERY),
            _parameter("query", "limit", limit),
            _parameter("query", "before", ID),
        ],
        "responses": {"200": told, **_failures("400")},
    }


def _get() -> dict[str, Any]:
    cursor = {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
    return {
        "operationId": "get_invocation",
        "summary": "Ask how a run stands, or read its events",
        "parameters": [
            _invocation_id(),
            _parameter("query", LAST_EVENT_ID_QUERY, cursor),
            _parameter("header", LAST_EVENT_ID_HEADER, cursor),
        ],
        "responses": {
            "200": {"$ref": "#/components/responses/Snapshot"},
            **_failures("400", "404", "410"),
        },
    }


def _cancel() -> dict[str, Any]:
    ended = {JSON: {"schema": standing("completed", "failed", "cancelled")}}
    ending = {JSON: {"schema": standing("cancelling", "in_progress", "queued")}}
    return {
        "operationId": "cancel_invocation",
        "summary": "Cancel a run",
        "parameters": [_invocation_id()],
        "responses": {
            "200": _answer("It has ended.", ended),
            "202": _answer("It is to end.", ending),
            **_failures("404"),
        },
    }


def _signal() -> dict[str, Any]:
    return {
        "operationId": "signal_invocation",
        "summary": "Give a run what it waits for, or will",
        "parameters": [_invocation_id()],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": record({"name": ID, "payload": {}}, "payload")}},
        },
        "responses": {
            "202": _answer("It is kept until the run waits.", {JSON: {"schema": standing("accepted")}}),
            **_failures("400", "404", "409", "413"),
        },
    }


def _answer(
    description: str, content: dict[str, Any], headers: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"description": description, "headers": {**_IDS, **(headers or {})}, "content": content}


def _failures(*statuses: str) -> dict[str, Any]:
    unavailable = {"503": {"$ref": "#/components/responses/Unavailable"}}
    return {**dict.fromkeys(statuses, _FAILED), **unavailable, "default": _FAILED}


def _parameter(place: str, name: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": place, "schema": schema or {"type": "string"}}


def _invocation_id() -> dict[str, Any]:
    return {**_parameter("path", "invocation_id", ID), "required": True}


def _event(output: dict[str, Any]) -> dict[str, Any]:
    """A frame of a stream: the framework's with an id, the handler's, and the last, without one."""
    number = {"id": {"type": "string", "pattern": "^[1-9][0-9]*$"}}
    named = [
        record({"event": {"const": name}, "data": _json(data), **number})
        for name, data in events(output).items()
    ]
    own = {**record({"data": _json({}), **number}), "not": {"required": ["event"]}}
    words = {"enum": ["done", "superseded", "reconnect"]}
    last = record({"event": words, "data": _json(record({"type": words, "invocation_id": ID}))})
    return {"oneOf": [*named, own, last]}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
