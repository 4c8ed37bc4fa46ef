"""``agentserver docs``: the documents of a handler, without a server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.target import TargetError, load

if TYPE_CHECKING:
    from agentserver.invocations._handler_definition import HandlerDefinition

__all__ = ["docs"]


def docs(arguments: argparse.Namespace) -> int:
    """Print the document of the handler's types."""
    from agentserver._typed.yaml_text import yaml_of

    document = _document(arguments.target, arguments.kind, arguments.openapi_version)
    text = yaml_of(document) if arguments.yaml else json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()
    return Exit.OK


def _document(target: str, kind: str | None, version: str | None) -> Any:
    offered = _offered(target)
    makers: dict[str, Callable[[], Any]] = {}
    if offered.contract is not None:
        makers["openapi"] = lambda: _openapi(offered, version)
    if offered.messages is not None:
        makers["asyncapi"] = offered.messages.document
    if offered.durable is not None:
        makers.update(_of_runs(offered, version))
    if not makers:
        words = "names no types, so there is nothing to document: see docs/typed.md"
        raise CommandError(f"{offered.type.__name__} {words}", Exit.FAILED)
    chosen = kind or next(iter(makers))
    if chosen not in makers:
        other = next(iter(makers))
        raise CommandError(f"{offered.type.__name__} has no types for that: it has --{other}", Exit.FAILED)
    _refuse_own(offered, chosen)
    return _plain(makers[chosen]())


def _offered(target: str) -> HandlerDefinition:
    from agentserver.invocations._handler_source import definition
    from agentserver.invocations.builder import AgentHost, AgentHostBuilder

    found = load(target)
    if isinstance(found, (AgentHost, AgentHostBuilder)):
        raise TargetError(f"{target} is a host: name its handler, such as module:Handler")
    return definition(found)


def _openapi(offered: HandlerDefinition, version: str | None) -> Any:
    from agentserver.invocations._typed_documents import openapi_of

    assert offered.contract is not None
    return openapi_of(offered.type, offered.contract, version=version)


def _of_runs(offered: HandlerDefinition, version: str | None) -> dict[str, Callable[[], Any]]:
    """What writes the documents of a durable handler."""
    from agentserver.invocations import _durable_documents
    from agentserver.invocations._durable_types import types_of
    from agentserver.wire import ACTIONS_ROUTE

    types = types_of(offered.type)
    makers: dict[str, Callable[[], Any]] = {
        "openapi": lambda: _durable_documents.openapi_of(offered, types, version=version)
    }
    if ACTIONS_ROUTE in offered.interface.websockets:
        makers["asyncapi"] = lambda: _durable_documents.asyncapi_of(offered, types)
    return makers


def _refuse_own(offered: HandlerDefinition, kind: str) -> None:
    """Raise if the handler has a document of its own, which is what a server serves."""
    from agentserver import InvocationHandler

    own = "get_openapi" if kind == "openapi" else "get_asyncapi_json"
    if getattr(offered.type, own) is not getattr(InvocationHandler, own):
        words = "writes that document itself: start it, and fetch the document from the server"
        raise CommandError(f"{offered.type.__name__}.{own} {words}", Exit.FAILED)


def _plain(document: Any) -> Any:
    import msgspec

    return msgspec.json.decode(msgspec.json.encode(document))
