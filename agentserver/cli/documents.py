"""The documents of a running agent: what it takes, to check and to complete what is typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agentserver._typed.shapes import is_array, is_object
from agentserver.cli.json_schema import Schema

if TYPE_CHECKING:
    from agentserver.client import InvocationsClient

__all__ = ["action_schema", "body_of", "body_schema", "message_schema"]

_SECONDS: Final = 2.0


async def body_schema(client: InvocationsClient) -> Schema | None:
    """What the agent takes over HTTP; ``None`` if it does not say, or not in time."""
    return body_of(await _document(client, "openapi.json"))


def body_of(document: Any) -> Schema | None:
    """What the agent of an OpenAPI *document* takes; ``None`` if it does not say."""
    media = _at(document, "paths", "/invocations", "post", "requestBody", "content", "application/json")
    own = _at(media, "schema")
    if not is_object(own):
        return None
    return Schema({**own, "examples": [media["example"]]} if "example" in media else own, document)


async def message_schema(client: InvocationsClient) -> Schema | None:
    """What the agent takes over its WebSocket; ``None`` if it does not say."""
    document = await _document(client, "asyncapi.json")
    taken = _at(document, "operations", "receive", "messages")
    if not is_array(taken):
        return None
    names = [str(_at(each, "$ref")).rpartition("/")[2] for each in taken]
    payloads = [_payload(document, name) for name in names]
    return Schema({"anyOf": [each for each in payloads if is_object(each)]}, document)


def _payload(document: Any, name: str) -> Any:
    message = _at(document, "components", "messages", name)
    payload, examples = _at(message, "payload"), _at(message, "examples")
    if not is_object(payload) or not is_array(examples):
        return payload
    return {**payload, "examples": [_at(each, "payload") for each in examples]}


async def action_schema(client: InvocationsClient) -> Schema | None:
    """What the payload of an action may be; ``None`` if the agent does not say."""
    document = await _document(client, "asyncapi.json")
    message = _at(document, "components", "messages", "Invoke")
    own = _at(message, "payload", "properties", "payload")
    if not is_object(own):
        return None
    examples = _at(message, "examples")
    given = [_at(each, "payload", "payload") for each in examples] if is_array(examples) else []
    return Schema({**own, "examples": given} if given else own, document)


async def _document(client: InvocationsClient, name: str) -> Any:
    from agentserver.client import ClientError

    try:
        return await client.document(name, timeout=_SECONDS)
    except (ClientError, ValueError):
        return None


def _at(value: Any, *steps: str) -> Any:
    for step in steps:
        value = value.get(step) if is_object(value) else None
    return value
