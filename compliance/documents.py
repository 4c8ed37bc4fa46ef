"""Has other people's tools read the documents of handlers with types: ``make documents``.

They stand in the folder that is given, where npm has put them. Redocly lints what is OpenAPI; AsyncAPI's own
parser and its JSON Schema of 3.0.0 judge the rest. An error of any of them is an error of ours.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
from openapi_spec_validator import OpenAPIV31SpecValidator, OpenAPIV32SpecValidator

from agentserver import ActionContext, InvocationActionHandler, InvocationContext, InvocationWebSocketHandler
from agentserver._typed.yaml_text import yaml_of
from agentserver.invocations._durable_documents import asyncapi_of as runs_asyncapi_of
from agentserver.invocations._durable_documents import openapi_of as runs_openapi_of
from agentserver.invocations._durable_types import types_of
from agentserver.invocations._handler_definition import define
from agentserver.invocations._typed_documents import openapi_of
from tests.durable.test_openapi import Anything, Writer
from tests.typed.contracts import CONTRACTS, agent_of

ROOT: Final = Path(__file__).parents[1]
DURABLE: Final[tuple[Any, ...]] = (Writer, Anything)  # whose abstract methods the framework stands in for
# What a tool says of style is no error: we have no licence to name, no list of servers of the user's.
REDOCLY: Final = """\
rules:
  struct: error
  no-unresolved-refs: error
  no-invalid-media-type-examples: error
  no-invalid-schema-examples: error
  no-example-value-and-externalValue: error
  path-declaration-must-exist: error
  path-parameters-defined: error
  operation-operationId-unique: error
  no-undefined-server-variable: error
"""


def openapi_documents() -> Iterator[tuple[str, Any]]:
    """A document of each contract and of two durable handlers, in both versions, by name."""
    for runs in DURABLE:
        for version in ("3.1", "3.2"):
            document = runs_openapi_of(define(runs), types_of(runs), version=version)
            yield f"{runs.__name__.lower()}-{version}", plain(document)
    for name in CONTRACTS:
        for version in ("3.1", "3.2"):
            handler = agent_of(name, version)
            contract = define(handler).contract
            assert contract is not None
            yield f"{name}-{version}", plain(openapi_of(handler, contract))


def asyncapi_documents() -> Iterator[tuple[str, Any]]:
    """A document of each contract as messages, and as actions where payloads are objects, by name.

    And one of durable actions.
    """
    runs = DURABLE[0]
    yield "durable", plain(runs_asyncapi_of(define(runs), types_of(runs)))
    for name, (taken, given, _) in CONTRACTS.items():
        if name == "union_of_engines":  # told apart as events alone
            continue
        kinds = [talking(taken, taken)]
        if name not in ("list", "nullable"):
            kinds.append(acting(taken, taken if name in ("events", "mixed") else given))
        for handler in kinds:
            messages = define(handler).messages
            assert messages is not None
            yield f"{name}-{handler.__name__.lower()}", plain(messages.document())


def talking(taken: Any, given: Any) -> type[InvocationWebSocketHandler]:
    """A handler with these types for its WebSocket."""

    class Messages(InvocationWebSocketHandler[taken, given]):
        async def handle_websocket(self, websocket: Any, context: InvocationContext) -> None:
            return

    return Messages


def acting(taken: Any, given: Any) -> type[InvocationActionHandler]:
    """A handler with these types for its actions."""

    class Actions(InvocationActionHandler[taken, given]):
        examples = ()

        async def invoke(self, payload: Any, context: ActionContext) -> Any:
            return payload

    return Actions


def plain(document: Any) -> Any:
    """*document* as a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(document))


def check_openapi(folder: Path, documents: Path) -> bool:
    """Judge the OpenAPI documents; whether all are right."""
    paths: list[str] = []
    for name, document in openapi_documents():
        validator = OpenAPIV31SpecValidator if name.endswith("3.1") else OpenAPIV32SpecValidator
        validator(document).validate()
        path = documents / f"openapi-{name}.json"
        path.write_text(json.dumps(document))
        paths.append(str(path))
    (documents / "redocly.yaml").write_text(REDOCLY)
    redocly = folder / "node_modules" / ".bin" / "redocly"
    options = ["--config", str(documents / "redocly.yaml"), "--format", "summary", "--max-problems", "1000"]
    linted = subprocess.run([redocly, "lint", *options, *paths], check=False)
    print(f"{len(paths)} OpenAPI documents: openapi-spec-validator and Redocly")
    return linted.returncode == 0


def check_asyncapi(folder: Path, documents: Path) -> bool:
    """Judge the AsyncAPI documents, as JSON and as YAML; whether all are right."""
    schema: Any = json.loads(
        (folder / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json").read_text()
    )
    checker: Any = jsonschema.Draft7Validator(schema)
    paths: list[str] = []
    for name, document in asyncapi_documents():
        checker.validate(document)
        for kind, text in (("json", json.dumps(document)), ("yaml", yaml_of(document))):
            path = documents / f"asyncapi-{name}.{kind}"
            path.write_text(text)
            paths.append(str(path))
    script = ROOT / "compliance" / "parse_asyncapi.mjs"
    node = shutil.which("node") or "node"
    parsed = subprocess.run([node, script, folder.resolve(), *paths], check=False)
    print(f"{len(paths)} AsyncAPI documents: the JSON Schema of 3.0.0 and @asyncapi/parser")
    return parsed.returncode == 0


def main() -> int:
    """Judge all documents."""
    folder = Path(sys.argv[1])
    documents = folder / "documents"
    documents.mkdir(parents=True, exist_ok=True)
    right = [check_openapi(folder, documents), check_asyncapi(folder, documents)]
    print("all are right" if all(right) else "see above for what is wrong")
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
