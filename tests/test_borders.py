"""What is inside aiohttp and OpenTelemetry is named in the modules at their borders, and nowhere else."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

import pytest

from tests.servers import ROOT

PACKAGE = ROOT / "agentserver"
LIBRARIES = ("aiohttp", "opentelemetry")
AIOHTTP_BORDERS = [
    "_http/aiohttp_internals.py",
    "_websocket/aiohttp_internals.py",
    "client/aiohttp_internals.py",
    "testing/aiohttp_internals.py",
]
BORDERS = {*AIOHTTP_BORDERS, "_telemetry/opentelemetry_internals.py"}
# Documented names of named tuples: their underscore only leaves all others to the fields.
OF_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
# What is neither library's, and is asked of another object all the same.
OTHERS = {
    ("_hosting/process.py", "_exit"),  # os
    ("_hosting/watchdog.py", "_current_frames"),  # sys
    ("_http/unpacking.py", "_Decompress"),  # zlib; a type
    ("_websocket/deflate.py", "_Compress"),  # zlib; a type
    ("inspector/websocket_frames.py", "_Decompress"),  # zlib; a type
    ("_services/collection.py", "_is_protocol"),  # typing
    ("_services/planner.py", "_is_protocol"),  # typing
    ("actions/_durable.py", "_headers"),  # InvocationContext
    ("actions/_server_connection.py", "_durable_actions"),  # a class of handlers
    ("actions/_server_connection.py", "_headers"),  # InvocationContext
    ("actions/_server_connection.py", "_lifetime"),  # InvocationContext
    ("client/calls.py", "_http"),  # another client
    ("invocations/_handler_definition.py", "_check"),  # a class of handlers
    ("invocations/_handler_definition.py", "_durable"),  # a class of handlers
    ("invocations/_handler_definition.py", "_durable_websocket"),  # a class of handlers
    ("invocations/_handler_definition.py", "_idempotent"),  # a class of handlers
    ("invocations/_handler_definition.py", "_interface"),  # a class of handlers
    ("invocations/_handler_definition.py", "_typed_messages"),  # a class of handlers
    ("testing/requests.py", "_headers"),  # InvocationContext
    ("testing/requests.py", "_lifetime"),  # InvocationContext
}
BY_STRING = {"getattr", "setattr", "hasattr", "delattr"}
# What needs a framework is imported where there is one: make frameworks-test runs this file too.
FRAMEWORKS = {
    "agent_framework": "agent_framework",
    "langgraph": "langgraph",
    "openai_agents": "agents",
    "pipecat": "pipecat",
    "pydantic_ai": "pydantic_ai",
}
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def can_be_imported(module: str) -> bool:
    part, _, rest = module.removeprefix("integrations/").partition("/")
    return not rest or part not in FRAMEWORKS or find_spec(FRAMEWORKS[part]) is not None


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_own(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):  # super()
        value = value.func
    return isinstance(value, ast.Name) and value.id in {"self", "cls", "super"}


def tree_of(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text())


def is_of_a_library(module: str | None) -> bool:
    return (module or "").split(".")[0] in LIBRARIES


def imported(tree: ast.AST) -> Iterator[str]:
    """The private names, of modules too, that are imported from a library or looked up there by a string."""
    for node in ast.walk(tree):
        paths: list[str] = []
        if isinstance(node, ast.ImportFrom) and is_of_a_library(node.module):
            paths = [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Import):
            paths = [name.name for name in node.names if is_of_a_library(name.name)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            paths = [node.value] if is_of_a_library(node.value) else []
        yield from (name for path in paths for name in path.split(".") if is_private(name))


def asked_of_others(tree: ast.AST) -> Iterator[str]:
    """The private names that are asked of something else than ``self`` or ``cls``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in OF_TUPLES:
            if not is_own(node.value):
                yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BY_STRING:
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield str(name.value)


def names_of(kind: type) -> set[str]:
    """The private names that *kind* itself defines, sets or asks of ``self``."""
    names = {name for name in vars(kind) if name != "_abc_impl"}
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # compiled
        source = ""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_own(node.value):
            names.add(node.attr)
    return {name for name in names if is_private(name)}


def inherited(module: str) -> Iterator[str]:
    """The private names of a library's class that a class of ours in *module* uses, or takes by accident."""
    parts = ("agentserver", *module.removesuffix(".py").removesuffix("/__init__").split("/"))
    loaded = import_module(".".join(parts))
    for kind in vars(loaded).values():
        if inspect.isclass(kind) and kind.__module__ == loaded.__name__:
            bases = [base for base in kind.__mro__ if is_of_a_library(base.__module__)]
            yield from names_of(kind) & {name for base in bases for name in names_of(base)}


@pytest.mark.parametrize("module", [module for module in MODULES if module not in BORDERS])
def test_no_other_module_names_what_is_inside_a_library(module: str) -> None:
    tree = tree_of(module)
    found = {*imported(tree)}
    found |= {name for name in asked_of_others(tree) if (module, name) not in OTHERS}
    if not module.endswith("__main__.py") and can_be_imported(module):
        found |= {*inherited(module)}
    assert not found, "use these in the module at the border, with why and what breaks when they change"


def test_nothing_is_allowed_that_nobody_does() -> None:
    assert {(module, name) for module, name in OTHERS if name in asked_of_others(tree_of(module))} == OTHERS


@pytest.mark.parametrize("module", AIOHTTP_BORDERS)
def test_the_decision_lists_every_name_that_a_border_to_aiohttp_uses(module: str) -> None:
    text = (ROOT / "docs" / "decisions" / "aiohttp.md").read_text()
    tree = tree_of(module)
    used = {*imported(tree), *asked_of_others(tree), *inherited(module)}
    assert used
    assert {name for name in used if f"`{name}`" not in text} == set()
