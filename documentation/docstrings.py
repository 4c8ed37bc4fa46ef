"""What docstrings say, as data: of arguments, and of the names that a module or a class assigns."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from types import ModuleType

__all__ = ["arguments", "assigned"]

_SECTION = re.compile(r"^Args:\n(?P<body>(?:[ ]{4}.*\n?|\n)*)", re.MULTILINE)
_ARGUMENT = re.compile(r"^[ ]{4}(?P<names>\*{0,2}\w+(?:, \w+)*): (?P<text>.*(?:\n[ ]{5,}.*)*)", re.MULTILINE)


def arguments(documented: type | Callable[..., object]) -> Mapping[str, str]:
    """What the docstring of *documented* says under ``Args:``, each on one line."""
    section = _SECTION.search(inspect.getdoc(documented) or "")
    found = _ARGUMENT.finditer(section["body"]) if section else ()
    return {
        name.lstrip("*"): " ".join(match["text"].split())
        for match in found
        for name in match["names"].split(", ")
    }


def assigned(scope: ModuleType | type) -> Mapping[str, str]:
    """The names that *scope* assigns and a docstring follows, and what that says, on one line."""
    body = ast.parse(inspect.getsource(scope)) if isinstance(scope, ModuleType) else _class(scope)
    found: dict[str, str] = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        target = _target(statement)
        if target and isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            found[target] = " ".join(str(following.value.value).split())
    return found


def _class(scope: type) -> ast.ClassDef:
    (node,) = ast.parse(inspect.getsource(scope)).body
    assert isinstance(node, ast.ClassDef)
    return node


def _target(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    return ""
