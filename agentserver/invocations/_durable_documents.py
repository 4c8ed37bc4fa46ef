"""The documents of a durable handler, which the framework writes as it answers for it. No start pays."""

from __future__ import annotations

from typing import Any

import msgspec

from agentserver._typed.yaml_text import yaml_of
from agentserver.invocations._durable_types import RunTypes
from agentserver.invocations._handler_definition import HandlerDefinition
from agentserver.invocations._typed_documents import asyncapi_of_runs, openapi_of_runs


def written(offered: HandlerDefinition, types: RunTypes, operation: str, server: str) -> bytes:
    """The document that *operation* answers with.

    Args:
        offered: The handler.
        types: What its ``run`` takes and gives.
        operation: Such as ``get_openapi``.
        server: The path before all routes.
    """
    if "asyncapi" not in operation:
        return msgspec.json.encode(openapi_of(offered, types, server))
    encoded = msgspec.json.encode(asyncapi_of(offered, types))
    if operation == "get_asyncapi_json":
        return encoded
    return yaml_of(msgspec.json.decode(encoded)).encode()


def openapi_of(
    offered: HandlerDefinition, types: RunTypes, server: str = "", version: str | None = None
) -> dict[str, Any]:
    """The OpenAPI document; of the *version* that the handler says itself if none is given."""
    return openapi_of_runs(offered.type, types.contract, server, version)


def asyncapi_of(offered: HandlerDefinition, types: RunTypes) -> dict[str, Any]:
    """The AsyncAPI document of the actions."""
    return asyncapi_of_runs(offered.type, types.contract)
