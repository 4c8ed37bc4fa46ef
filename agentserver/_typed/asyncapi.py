"""The AsyncAPI 3.0 document of a WebSocket with types. Its schemas are those of JSON Schema draft 7."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from agentserver._typed.contract import Contract
from agentserver._typed.schemas import schemas_for
from agentserver._typed.shapes import is_array, is_object
from agentserver.wire import SESSION_ID_QUERY, WEBSOCKET_ROUTE

_REFERENCE: Final = "#/components/schemas/"
_ERROR: Final = {
    "type": "object",
    "required": ["type", "error"],
    "properties": {
        "type": {"const": "error"},
        "error": {
            "type": "object",
            "required": ["code", "message", "target"],
            "properties": {
                "code": {"enum": ["invalid_json", "invalid_message"]},
                "message": {"type": "string"},
                "target": {"type": "string", "description": "The JSON path of what is wrong."},
                "example": {"description": "A message that is valid."},
            },
        },
    },
}


class Channel(NamedTuple):
    """A WebSocket path.

    Args:
        name: What documents call it.
        address: The path.
    """

    name: str
    address: str


def asyncapi(contract: Contract, title: str, description: str, version: str) -> dict[str, Any]:
    """Write the document.

    Args:
        contract: The messages that the handler takes and gives.
        title: The handler's name.
        description: What it says of itself; empty if nothing.
        version: The agent's.
    """
    assert contract.request is not None
    assert contract.reply is not None
    schemas = schemas_for([contract.request, contract.reply])
    taken = _messages(schemas.whole[0], "Received")
    given = {**_messages(schemas.whole[1], "Sent"), "InvalidMessage": _ERROR}
    components = {name: draft_7(schema) for name, schema in schemas.components.items()}
    examples = {_name_of(taken, components, each): each for each in contract.examples}
    return {
        "asyncapi": "3.0.0",
        "info": info(title, description, version),
        **exchange([Channel("invocations_ws", WEBSOCKET_ROUTE)], taken, given),
        "components": {
            "messages": messages_of({**taken, **given}, examples),
            "schemas": components,
        },
    }


_BINDING: Final = {
    "bindingVersion": "0.1.0",
    "method": "GET",
    "query": {"type": "object", "properties": {SESSION_ID_QUERY: {"type": "string"}}},
}


def info(title: str, description: str, version: str) -> dict[str, Any]:
    """What the document says of the agent."""
    return {"title": title, "version": version, **({"description": description} if description else {})}


def exchange(channels: Sequence[Channel], taken: Iterable[str], given: Iterable[str]) -> dict[str, Any]:
    """The channels, and on each of them the operations: messages that are received, and that are sent."""
    names = dict.fromkeys([*taken, *given])
    operations: dict[str, Any] = {}
    for channel in channels:
        suffix = "" if channel is channels[0] else f"_on_{channel.name}"
        operations[f"receive{suffix}"] = _operation("receive", channel, taken)
        operations[f"send{suffix}"] = _operation("send", channel, given)
    return {
        "channels": {
            channel.name: {
                "address": channel.address,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {"ws": _BINDING},
            }
            for channel in channels
        },
        "operations": operations,
    }


def _operation(action: str, channel: Channel, names: Iterable[str]) -> dict[str, Any]:
    place = f"#/channels/{channel.name}"
    messages = [{"$ref": f"{place}/messages/{name}"} for name in names]
    return {"action": action, "channel": {"$ref": place}, "messages": messages}


def messages_of(schemas: Mapping[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    """The messages of *schemas*, by name, those with an example that are named in *examples*."""
    return {
        name: {
            "name": name,
            "contentType": "application/json",
            "payload": draft_7(schema),
            **({"examples": [{"payload": examples[name]}]} if name in examples else {}),
        }
        for name, schema in schemas.items()
    }


def _messages(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The messages of a union, one for each member, by the names of their components."""
    found: dict[str, Any] = {}
    for number, member in enumerate(schema.get("anyOf") or [schema], start=1):
        reference: str = member.get("$ref", "")
        own = name if number == 1 else f"{name}{number}"
        found[reference.removeprefix(_REFERENCE) if reference else own] = member
    return found


def _name_of(taken: Mapping[str, Any], components: Mapping[str, Any], example: Any) -> str:
    """The message that *example* is one of: the first whose fixed fields it has."""
    for name in taken:
        properties: Mapping[str, Any] = components.get(name, {}).get("properties", {})
        fixed = {key: part["enum"] for key, part in properties.items() if "enum" in part}
        if is_object(example) and all(example.get(key, values[0]) in values for key, values in fixed.items()):
            return name
    return next(iter(taken))


def draft_7(schema: Any) -> Any:
    """*schema* in the words of draft 7, which AsyncAPI's tools must know."""
    if is_array(schema):
        return [draft_7(item) for item in schema]
    if not is_object(schema):
        return schema
    made: dict[str, Any] = {}
    for key, item in schema.items():
        if key == "properties":
            made[key] = {name: draft_7(part) for name, part in item.items()}
        elif key in ("default", "const", "enum", "examples"):
            made[key] = item
        elif key not in ("discriminator", "prefixItems"):
            made[key] = draft_7(item)
    if "prefixItems" in schema:
        made["additionalItems"] = made.get("items", True)
        made["items"] = draft_7(schema["prefixItems"])
    return made
