"""Every public name has a docstring that says what it takes, what it gives, and what it raises by itself."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from documentation.docstrings import arguments
from documentation.names import imported, public_names


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
            value = getattr(imported(module), name)
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


CONSTRUCTORS = ("__init__", "__new__", "__post_init__", "__init_subclass__")


def raising(path: str) -> Iterator[Any]:
    """The functions that raise on behalf of *path*: itself, or what makes an object of it."""
    subject = SUBJECTS[path]
    if inspect.isfunction(subject):
        yield subject
    elif inspect.isclass(subject):
        made_by = (vars(subject).get(name) for name in CONSTRUCTORS)
        functions = (getattr(function, "__func__", function) for function in made_by)
        yield from (
            f
            for f in functions
            if inspect.isfunction(f)
            and f.__module__.startswith("agentserver")
            and Path(f.__code__.co_filename).exists()
        )


def raised(function: Any, owner: Any = None) -> Iterator[str]:
    """The names of what *function* raises: in its own lines, by a method of *owner*, by a check it calls."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and node.exc is not None:
            made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(made, ast.Name) and made.id[0].isupper():
                yield made.id
            elif isinstance(made, ast.Attribute) and hasattr(owner, made.attr):
                yield str(inspect.signature(getattr(owner, made.attr)).return_annotation)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            check = function.__globals__.get(node.func.id)
            if inspect.isfunction(check) and function.__name__ in CONSTRUCTORS:
                yield from re.findall(r"^    (\w+Error):", inspect.getdoc(check) or "", re.MULTILINE)


def names_of(error: str, function: Any) -> set[str]:
    """The name of an exception, and of the public ones that it is one of."""
    kind = function.__globals__.get(error)
    return {one.__name__ for one in kind.__mro__} & ERRORS | {error} if inspect.isclass(kind) else {error}


ERRORS = {name for names in public_names().values() for name in names if name.endswith("Error")}


@pytest.mark.parametrize("path", SUBJECTS)
def test_a_docstring_says_what_is_raised(path: str) -> None:
    subject = SUBJECTS[path]
    owner = SUBJECTS.get(path.rpartition(".")[0])
    text = said(subject)
    unsaid = {
        error
        for function in raising(path)
        for error in raised(function, owner)
        if not any(name in text for name in names_of(error, function))
    }
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
