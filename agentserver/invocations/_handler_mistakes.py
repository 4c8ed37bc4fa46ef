"""Mistakes that Python lets pass: a misspelt override, a forgotten ``return``, a result that is not JSON.

A misspelt override is warned of, not refused: ``get_invocations`` may be a helper of the class's own as well
as ``get_invocation`` with a letter too many, and no server must stay down because of a name. What is loaded
here only those pay for who made one.
"""

from __future__ import annotations

import ast
import functools
import inspect
import logging
import textwrap
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

logger = logging.getLogger("agentserver")

_ALIKE: Final = 0.8
"""How much of two names must agree, 0 to 1: ``cancell`` and ``cancel`` 0.92, ``get`` and ``set`` 0.67."""


def nearest(name: str, operations: Collection[str]) -> str | None:
    """The one of *operations* that *name* is nearly; ``None`` if it is near to none."""
    lowered = name.lower()
    # Most names are far from all: what decides that costs nothing, and difflib is loaded by the others.
    candidates = [
        operation
        for operation in operations
        if lowered[:1] == operation[:1]
        and 2 * min(len(name), len(operation)) >= _ALIKE * (len(name) + len(operation))
    ]
    if not candidates:
        return None
    from difflib import get_close_matches

    return next(iter(get_close_matches(lowered, candidates, 1, _ALIKE)), None)


def misspelt(own: Collection[str], operations: Collection[str]) -> Iterator[tuple[str, str]]:
    """Those of a class's *own* methods that are nearly one of *operations*, each with that one."""
    for name in own:
        meant = nearest(name, operations)
        if meant is not None:
            yield name, meant


def warn_of_misspelt(handler: type, own: Collection[str], operations: Collection[str]) -> None:
    """Say which of a handler's *own* public methods the server will never call, though it looks as if."""
    for name, meant in misspelt(own, operations):
        logger.warning(
            "%s.%s is never called by the server: if it is meant to be %s, name it so;"
            " if it is a helper, begin its name with an underscore",
            handler.__name__,
            name,
            meant,
        )


def name_of(method: Callable[..., Any]) -> str:
    """The handler's class and the method, as its writer knows them."""
    owner = getattr(method, "__self__", None)
    name = str(getattr(method, "__name__", method))
    return name if owner is None else f"{type(owner).__name__}.{name}"


def not_json(method: Callable[..., Any], error: Exception) -> TypeError:
    """The error for a result of *method* that JSON cannot carry, because of *error*."""
    return TypeError(
        f"{name_of(method)} returned what JSON cannot carry ({error}):"
        " return a web.Response, str, bytes, or something JSON"
    )


def warn_of_nothing(method: Callable[..., Any]) -> None:
    """Say, once for each method, that it gave ``None`` where it looks as if a ``return`` were forgotten."""
    _warn_of_nothing(name_of(method), getattr(method, "__func__", method))


@functools.cache
def _warn_of_nothing(name: str, function: Callable[..., Any]) -> None:
    if _forgets_to_return(function):
        logger.warning(
            "%s ended without a result, so the client is answered null, and it returns a value elsewhere:"
            " write the missing return, or 'return None' if null is meant",
            name,
        )


def _forgets_to_return(function: Callable[..., Any]) -> bool:
    """Whether *function* returns a value somewhere, and never says ``return None``."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # no source to read
        return False
    returned = [node.value for node in _returns(tree.body[0]) if node.value is not None]
    nothing = [value for value in returned if isinstance(value, ast.Constant) and value.value is None]
    return bool(returned) and not nothing


def _returns(function: ast.AST) -> Iterator[ast.Return]:
    """The returns of *function* itself, and of no function inside it."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.Return):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _returns(node)
