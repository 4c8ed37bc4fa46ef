"""Frozen dataclasses whose methods are written here once, instead of being generated for each of them.

A container is started for every session, and ``dataclass`` compiles up to six functions for each class: for
the classes of a start that is 8 ms on Python 3.11, a twentieth of it. These are dataclasses to all the world
otherwise: to type checkers, ``dataclasses.replace``, ``match``, ``copy`` and ``help``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, cast

__all__ = ["record"]


def _init(self: Any, *positional: Any, **named: Any) -> None:
    kind = cast("Any", type(self))
    names: tuple[str, ...] = kind.__match_args__
    given = {**dict(zip(names, positional)), **named}  # noqa: B905 - too many are refused below
    values: dict[str, Any] = {}
    missing: list[str] = []
    for field in fields(kind):
        if field.name in given:
            values[field.name] = given.pop(field.name)
        elif field.default is not MISSING:
            values[field.name] = field.default
        elif field.default_factory is not MISSING:
            values[field.name] = field.default_factory()
        else:
            missing.append(field.name)
    if len(positional) > len(names):
        raise TypeError(f"{kind.__qualname__}() takes {len(names)} positional arguments at most")
    twice = named.keys() & set(names[: len(positional)])
    wrongs: dict[str, Collection[str]] = {"lacks": missing, "does not take": given, "got twice": twice}
    for wrong, which in wrongs.items():
        if which:
            raise TypeError(f"{kind.__qualname__}() {wrong} {', '.join(sorted(which))}")
    self.__dict__.update(values)
    if hasattr(kind, "__post_init__"):
        self.__post_init__()


def _repr(self: Any) -> str:
    shown = [f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, field.name) for field in fields(self)])


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _setattr(self: Any, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _Signature:
    """The signature of a record's constructor, made when somebody looks at it."""

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        from inspect import Parameter, Signature

        def parameter(field: Any) -> Parameter:
            is_positional = field.name in owner.__match_args__
            kind = Parameter.POSITIONAL_OR_KEYWORD if is_positional else Parameter.KEYWORD_ONLY
            default = Parameter.empty if field.default is MISSING else field.default
            if field.default_factory is not MISSING:
                default = ...
            return Parameter(field.name, kind, default=default, annotation=field.type)

        return Signature([parameter(field) for field in fields(owner)])


_FROZEN = {"__init__": _init, "__setattr__": _setattr, "__delattr__": _delattr, "__signature__": _Signature()}

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(
        *,
        frozen: bool,
        kw_only: bool = False,
        eq: bool = True,
        repr: bool = True,  # noqa: A002 - dataclass's name for it
        init: bool = True,
    ) -> Callable[[type[Any]], type[Any]]:
        """Make a class a frozen dataclass; the arguments are those of ``dataclass``.

        A class that has a constructor of its own says ``init=False``.
        """
        assert frozen
        methods = dict(_FROZEN)
        if not init:
            del methods["__init__"], methods["__signature__"]
        if repr:
            methods["__repr__"] = _repr
        if eq:
            methods.update(__eq__=_eq, __hash__=_hash)

        def make(kind: type[Any]) -> type[Any]:
            kind.__doc__ = kind.__doc__ or kind.__name__  # dataclass would ask for the signature
            made = dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(kind)
            for name, method in methods.items():
                setattr(made, name, method)
            return made

        return make
