"""The error codes that one part of the server alone uses: found where they are written, in its sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

import agentserver
from agentserver.wire import ErrorCode

__all__ = ["ErrorUse", "further_codes"]

_ROOT: Final = Path(agentserver.__file__).parent
_PARTS: Final = (
    "_http",
    "_websocket",
    "_hosting",
    "_typed",
    "durable",
    "invocations",
    "actions",
    "integrations",
)
_WORD: Final = re.compile(r"[a-z]+(_[a-z]+)*")
_NUMBER: Final = re.compile(r"[45]\d\d")
_JSON: Final = re.compile(r'"code":"(?P<code>[a-z_]+)","message":"(?P<message>[^"]+)"')
_SHARED: Final = {code.value for code in ErrorCode}
# Whoever makes one of these gives a code, and after it a sentence.
_MAKERS: Final = ("InvocationError", "Failure", "_failed", "super().__init__")


class ErrorUse(NamedTuple):
    """A code, as it is written.

    Args:
        code: The code.
        status: The HTTP status; empty where there is none.
        meaning: The sentence that goes with it, or what the docstring around it says.
    """

    code: str
    status: str
    meaning: str


def further_codes() -> Sequence[ErrorUse]:
    """The codes that are not in `ErrorCode`, each once, in alphabetical order."""
    found: dict[str, ErrorUse] = {}
    for path in sorted(file for part in _PARTS for file in (_ROOT / part).rglob("*.py")):
        for use in _uses(ast.parse(path.read_text()), ""):
            found.setdefault(use.code, use)
    return sorted(found.values())


def _uses(node: ast.AST, docstring: str) -> Iterator[ErrorUse]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        docstring = (ast.get_docstring(node) or docstring).partition("\n\n")[0]
    use = _use(node, docstring)
    if use is not None and _WORD.fullmatch(use.code) and use.code not in _SHARED:
        yield use
    for child in ast.iter_child_nodes(node):
        yield from _uses(child, docstring)


def _use(node: ast.AST, docstring: str) -> ErrorUse | None:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in _MAKERS:
        texts = [text for text in map(_text, node.args) if text]
        numbers = [ast.unparse(part) for part in node.args if _NUMBER.fullmatch(ast.unparse(part))]
        numbers += [ast.unparse(part.value) for part in node.keywords if part.arg == "status"]
        if texts:
            default = "400" if ast.unparse(node.func) == "InvocationError" else ""
            status = numbers[0] if numbers else default
            meaning = texts[1] if len(texts) > 1 else docstring or HTTPStatus(int(status)).phrase
            return ErrorUse(texts[0], status, meaning)
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "self.code" and _text(node.value):
        return ErrorUse(_text(node.value), _status_in(docstring), docstring)
    if isinstance(node, ast.Dict):
        named = {ast.unparse(key): value for key, value in zip(node.keys, node.values, strict=True) if key}
        code = _text(named.get("'code'"))
        return ErrorUse(code, "", _text(named.get("'message'")) or docstring) if code else None
    if isinstance(node, ast.Constant) and (written := _JSON.search(str(node.value))):
        return ErrorUse(written["code"], "", written["message"])
    return None


def _text(node: ast.AST | None) -> str:
    """The text that *node* is; with … for what is filled in later."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _status_in(docstring: str) -> str:
    found = _NUMBER.search(docstring)
    return found[0] if found else ""
