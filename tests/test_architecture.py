"""The arrows between the packages, and the sizes that keep the code readable."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.servers import ROOT

PACKAGE = ROOT / "agentserver"
FACE = "agentserver"  # the public face, which loads everything else when it is asked for

# What each part imports of the project, besides itself: no more and no less. It comes after all of that.
ARROWS = {
    "_version": set[str](),
    "wire": set[str](),
    "errors": {"wire"},
    "_checks": {"errors"},
    "options": {"_checks", "errors"},
    "environment": {"wire", "errors"},
    "_services": {"errors"},
    "_telemetry": {"_version", "environment", "errors", "wire"},
    "_typed": {"errors", "wire"},
    "_http": {"_telemetry", "_version", "errors", "options", "wire"},
    "_websocket": {"_telemetry", "errors", "wire"},
    "_hosting": {"_http", "_services", "_telemetry", "environment", "errors", "options", "wire"},
    "durable": {"_checks", "_http", "_telemetry", "environment", "errors", "wire"},
    "invocations": {
        *("_hosting", "_http", "_services", "_telemetry", "_typed", "_websocket", "durable"),
        *("_checks", "environment", "errors", "options", "wire"),
    },
    "actions": {"_http", "_telemetry", "_typed", "_websocket", "durable", "errors", "invocations", "wire"},
    "integrations": {"_checks", "_telemetry", "_typed", "actions", "errors", "invocations", "wire"},
    "client": {"_typed", "actions", "errors", "invocations", "wire"},
    "conformance": {"wire", FACE},
    "inspector": {"_http", "_telemetry", "_version", "client", "durable", "environment", "wire"},
}
ABOVE = {FACE, "testing", "cli"}  # they may use everything below
# Of actions, the client may use what has no server in it.
FRAMES = {f"agentserver.actions.{name}" for name in ("frames", "_codec", "_state", "_client_protocol")}
# With the class of a handler, which `InvocationsClient.of` takes, comes the server.
OF_A_HANDLER = {"agentserver.client.client", "agentserver.client.typed"}
# Of the kit, only the agent that it tries itself on is made with the framework.
OF_THE_FRAMEWORK = {"agentserver.conformance.reference_agent", "agentserver.conformance.reference_actions"}
# A class without a seam, and a border that is to be one module; a limit all the same.
LONGER = {"_websocket/connection.py": 460, "_http/aiohttp_internals.py": 480}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path: Path) -> Iterator[str]:
    """All that the module at *path* imports: for typing only, and inside functions, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports are not understood here"
            assert node.module is not None
            names = {f"{node.module}.{name.name}" for name in node.names}
            yield from names & MODULES.keys()
            if not names <= MODULES.keys():
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else FACE


OWN_IMPORTS = {
    module: {name for name in imports(path) if name.split(".")[0] == PACKAGE.name} - {module}
    for module, path in MODULES.items()
}


def test_every_part_has_its_place() -> None:
    assert {part_of(module) for module in MODULES} == ARROWS.keys() | ABOVE


@pytest.mark.parametrize("part", ARROWS)
def test_a_part_imports_what_its_arrows_say(part: str) -> None:
    found = {part_of(name) for module in MODULES if part_of(module) == part for name in OWN_IMPORTS[module]}
    assert found - {part} == ARROWS[part]


def test_all_arrows_run_down() -> None:
    order = list(ARROWS)
    for part, arrows in ARROWS.items():
        assert arrows - {FACE} <= set(order[: order.index(part)])


def test_the_client_has_no_server_and_the_kit_judges_from_outside() -> None:
    for module, names in OWN_IMPORTS.items():
        if part_of(module) == "client" and module not in OF_A_HANDLER:
            assert {"_typed", "invocations"}.isdisjoint(map(part_of, names))
            assert {name for name in names if part_of(name) == "actions"} <= FRAMES
        if part_of(module) == "conformance":
            assert FACE not in map(part_of, names) or module in OF_THE_FRAMEWORK


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        path.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in path:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = set(path[path.index(node) :])
            del path[path.index(node) :]
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "c"}}) == [{"b", "c"}]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(OWN_IMPORTS) == []


def test_wire_and_errors_need_the_standard_library_only() -> None:
    for name in ("wire.py", "errors.py"):
        for module in imports(PACKAGE / name):
            top = module.split(".")[0]
            assert top == "agentserver" or top in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES.values(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_passes_400_lines_and_no_function_60(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= LONGER.get(str(path.relative_to(PACKAGE)), 400)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"
