"""The arrows between the packages, and the sizes that keep the code readable."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ROOT

PACKAGE = ROOT / "agentserver"

# What each part may import of the project, besides itself.
LOW = {"wire", "errors", "_checks", "_record", "_version", "environment", "options"}
ARROWS = {
    "wire": set[str](),
    "_record": set[str](),
    "_version": set[str](),
    "errors": {"wire"},
    "_checks": {"errors"},
    "options": {"errors", "_checks"},
    "environment": {"wire", "errors"},
    "_services": LOW,
    "_telemetry": LOW,
    "_http": LOW | {"_telemetry"},
    "_websocket": LOW | {"_http", "_telemetry"},
    "_hosting": LOW | {"_http", "_services", "_telemetry", "_websocket"},
    "invocations": LOW | {"_http", "_services", "_telemetry", "_websocket", "_hosting"},
    "actions": LOW | {"_http", "_telemetry", "_websocket", "_hosting", "invocations"},
    "client": LOW | {"actions"},
    "conformance": {"wire"},
    "inspector": LOW | {"_http", "_telemetry", "client"},
}
ABOVE = {"testing", "cli"}  # they may use everything below
# Of actions, the client may use what has no server in it.
FRAMES = tuple(f"agentserver.actions.{name}" for name in ("frames", "_codec", "_state", "_client_protocol"))
# One class each that has no seam; a limit all the same.
LONGER = {"_websocket/connection.py": 460}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("part", ARROWS)
def test_a_part_imports_only_what_its_arrows_allow(part: str) -> None:
    for path in (path for path in MODULES if part_of(path) == part):
        for module in imports(path):
            if not module.startswith("agentserver."):
                continue
            target = module.split(".")[1]
            assert target == part or target in ARROWS[part], f"{path.name} imports {module}"
            if part == "client" and target == "actions":
                assert module in FRAMES, f"{path.name} imports {module}"


def test_wire_and_errors_need_the_standard_library_only() -> None:
    for name in ("wire.py", "errors.py"):
        for module in imports(PACKAGE / name):
            top = module.split(".")[0]
            assert top == "agentserver" or top in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_passes_400_lines_and_no_function_60(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= LONGER.get(str(path.relative_to(PACKAGE)), 400)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"
