"""Every public name has a docstring that says what it takes, what it gives, and what it raises by itself."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, cast

import pytest

from documentation.docstrings import arguments
from documentation.names import public_names


def members(path: str, kind: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """The public methods and properties that *kind* itself defines."""
    for name, member in vars(kind).items():
        if name.startswith("_"):
            continue
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if inspect.isfunction(function) and function.__module__.startswith("agentserver"):
            yield f"{path}.{name}", function


def subjects() -> Iterator[tuple[str, Any]]:
    for module, names in public_names().items():
        for name in names:
            value = getattr(import_module(module), name)
            if callable(value):
                yield f"{module}.{name}", value
            if inspect.isclass(value):
                yield from members(f"{module}.{name}", value)


SUBJECTS = dict(subjects())


def said(subject: Any) -> str:
    """The docstring of *subject*, and of what it inherits its constructor from."""
    kinds = cast("type", subject).__mro__ if inspect.isclass(subject) else (subject,)
    ours = (kind for kind in kinds if kind.__module__.startswith("agentserver"))
    return "\n".join(inspect.getdoc(kind) or "" for kind in ours)


def is_said(name: str, subject: Any) -> bool:
    kinds = cast("type", subject).__mro__ if inspect.isclass(subject) else (subject,)
    if any(name in arguments(kind) for kind in kinds):
        return True
    return re.search(rf"(\*|`){name}\1", said(subject)) is not None


@pytest.mark.parametrize("path", SUBJECTS)
def test_a_docstring_says_what_each_argument_is(path: str) -> None:
    subject = SUBJECTS[path]
    assert inspect.getdoc(subject)
    if not (inspect.isclass(subject) or inspect.isfunction(subject)) or getattr(
        subject, "_is_protocol", False
    ):
        return  # a fixture, or the type of one: what a call takes stands with what it returns
    is_made_for_users = inspect.isclass(subject) and re.search("(?i)(made|opened) by", said(subject))
    if is_made_for_users or (inspect.isclass(subject) and "__init__" not in dir_of_ours(subject)):
        return
    names = [
        name
        for name in inspect.signature(subject).parameters
        if name not in {"self", "cls"} and name[0] != "_"
    ]
    assert [name for name in names if not is_said(name, subject)] == []


def dir_of_ours(kind: type) -> set[str]:
    """What *kind* and our classes that it inherits from define."""
    return {name for one in kind.__mro__ if one.__module__.startswith("agentserver") for name in vars(one)}


@pytest.mark.parametrize("path", [path for path, subject in SUBJECTS.items() if inspect.isfunction(subject)])
def test_a_docstring_says_what_is_raised_by_itself(path: str) -> None:
    subject = SUBJECTS[path]
    tree = ast.parse(textwrap.dedent(inspect.getsource(subject)))
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
    }
    unsaid = {name for name in raised if name not in said(subject)}
    assert unsaid == set()


# A sentence that names a thing says what is given: "The port", "Whether it runs", "Seconds to wait".
THING = re.compile(
    r"(The|A|An|All|What|Whether|Who|How|Its|Their|Seconds|1,|Set once|Inside a step: a key|Answer [`*])"
)
GIVES = re.compile(
    r"^(Returns|Yields):$|\b([Rr]eturns?|[Gg]ives?|[Mm]akes?|hand out|say how|(True|False) (if|when|also))\b",
    re.MULTILINE,
)
FUNCTIONS = [path for path, subject in SUBJECTS.items() if inspect.isfunction(subject)]


@pytest.mark.parametrize("path", FUNCTIONS)
def test_a_docstring_says_what_is_given(path: str) -> None:
    subject = SUBJECTS[path]
    if inspect.signature(subject).return_annotation in {None, "None", "NoReturn"}:
        return
    text = inspect.getdoc(subject) or ""
    assert THING.match(text) or GIVES.search(text), text
