"""What a base class of handlers offers: methods to write, documents, WebSocket paths."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from agentserver.errors import HandlerError
from agentserver.wire import (
    ASYNCAPI_JSON_ROUTE,
    ASYNCAPI_YAML_ROUTE,
    OPENAPI_ROUTE,
    WEBSOCKET_ROUTE,
)

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class HandlerInterface(NamedTuple):
    """One protocol's part, or several joined by ``|``.

    Args:
        operations: Each method's arguments after self, as a handler must accept them by position.
        documents: For each path the method that answers a GET, and the content type of text.
        websockets: The paths that lead to ``handle_websocket``.
        non_streaming: The methods that must not yield, and what to do instead.
    """

    operations: Mapping[str, tuple[str, ...]]
    documents: Mapping[str, tuple[str, str]] = _NOTHING
    websockets: tuple[str, ...] = ()
    non_streaming: Mapping[str, str] = _NOTHING

    def __or__(self, other: HandlerInterface) -> HandlerInterface:
        return HandlerInterface(
            {**self.operations, **other.operations},
            {**self.documents, **other.documents},
            self.websockets + other.websockets,
            {**self.non_streaming, **other.non_streaming},
        )


HTTP: Final = HandlerInterface(
    {
        "handle": ("request", "context"),
        "get": ("invocation_id", "request", "context"),
        "cancel": ("invocation_id", "request", "context"),
        "get_openapi": ("request",),
        "get_asyncapi_json": ("request",),
        "get_asyncapi_yaml": ("request",),
    },
    {
        OPENAPI_ROUTE: ("get_openapi", "application/json"),
        ASYNCAPI_JSON_ROUTE: ("get_asyncapi_json", "application/json"),
        ASYNCAPI_YAML_ROUTE: ("get_asyncapi_yaml", "application/yaml"),
    },
)

DURABLE_METHODS: Final = ("handle", "get", "cancel")
"""For which the framework answers in a durable handler."""

WEBSOCKET: Final = HandlerInterface(
    {"handle_websocket": ("websocket", "context")},
    websockets=(WEBSOCKET_ROUTE,),
    non_streaming={"handle_websocket": "send on the websocket"},
)


def check_openapi_version(handler: Any) -> None:
    """See that documents of *handler* can be of the version that it says.

    Raises:
        HandlerError: If there is no such version.
    """
    if handler.openapi_version not in {"3.1", "3.2"}:
        raise HandlerError(
            f"{handler.__name__}.openapi_version is {handler.openapi_version!r}: set it to '3.1' or '3.2'"
        )
