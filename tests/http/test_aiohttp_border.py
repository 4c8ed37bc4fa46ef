"""What is aiohttp's own inside is named in one module of the HTTP side, and nowhere else there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.servers import ROOT

HTTP = ROOT / "agentserver" / "_http"
BORDER = "aiohttp_internals.py"
# Classes of ours in these modules derive from aiohttp's, so that ``self`` is aiohttp's there as well.
DERIVED = {"connection.py", "request.py", "server.py", "writer.py"}
# What is used elsewhere still, and why it may be.
LEFT = {
    ("body_errors.py", "_read_bytes"),  # which bytes an error is about
    ("request.py", "_client_max_size"),
    ("request.py", "_match_info"),
    ("request.py", "_payload"),
    ("request.py", "_prepare_hook"),
    ("request.py", "_read_bytes"),
    ("unpacking.py", "_decompressor"),
}


def inside_of_aiohttp() -> set[str]:
    """Every underscored name that aiohttp's server side gives to its attributes, methods and functions."""
    names: set[str] = set()
    for path in Path(aiohttp.__file__).parent.glob("*.py"):
        if path.name.startswith(("client", "connector", "test_utils", "pytest_plugin")):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "self"
            ):
                names.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def own_names(tree: ast.Module) -> set[str]:
    """The underscored names that a module of ours defines itself."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
    return names


def private_names(path: Path) -> Iterator[tuple[str, int]]:
    tree = ast.parse(path.read_text())
    own = own_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiohttp"):
            yield from ((name.name, node.lineno) for name in node.names if name.name.startswith("_"))
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not mine or (path.name in DERIVED and node.attr not in own):
                yield node.attr, node.lineno


@pytest.mark.parametrize("path", sorted(HTTP.glob("*.py")), ids=lambda path: path.name)
def test_no_other_module_names_what_is_inside_aiohttp(path: Path) -> None:
    if path.name == BORDER:
        return
    inside = inside_of_aiohttp()
    found = {
        (path.name, name, line)
        for name, line in private_names(path)
        if name in inside and (path.name, name) not in LEFT
    }
    assert not found, f"name these in {BORDER}, with why and what breaks when they change"


def test_the_decision_lists_every_name_that_the_border_uses() -> None:
    text = (ROOT / "docs" / "decisions" / "aiohttp.md").read_text()
    inside = inside_of_aiohttp()
    used = {name for name, _ in private_names(HTTP / BORDER) if name in inside}
    tree = ast.parse((HTTP / BORDER).read_text())
    used |= {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in inside and node.attr.startswith("_")
    }
    missing = {name for name in used if f"`{name}`" not in text}
    assert not missing
