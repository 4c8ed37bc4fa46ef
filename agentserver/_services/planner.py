"""Who needs whom: the plan by which a service and all it asks for are made.

Everything that can be wrong with registrations is found here, at start-up; nothing is made here.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections import ChainMap, abc
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, Final, Union, cast, get_args, get_origin, get_type_hints

from agentserver.errors import ServiceError

__all__ = [
    "UNMADE",
    "DependencyPlanner",
    "Plan",
    "Registration",
    "ServiceLifetime",
    "is_class",
    "is_maker",
    "name_of",
    "result_of",
]

UNMADE: Final[Any] = object()
"""Stands where a value will be; ``None`` is a value that a factory may give."""

_NO_DEFAULT: Final = inspect.Parameter.empty
_INJECTED: Final = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
}
_UNRESOLVED: Final = (NameError, AttributeError, TypeError, SyntaxError)
_YIELDING: Final = (abc.Iterator, abc.Generator, abc.AsyncIterator, abc.AsyncGenerator)
_UNIONS: Final = (Union, types.UnionType)


class ServiceLifetime(Enum):
    """How long a service lives; the value is the word that error messages use."""

    SINGLETON = "singleton"
    SCOPED = "scoped"
    TRANSIENT = "transient"


class Registration:
    """What somebody registered: the type asked for, and the callable that makes it or the ready *value*.

    An *eager* singleton is made when the host starts. What comes *with_request* nobody makes: each request
    brings one.
    """

    # No dataclasses here: each costs half a millisecond of every start, services or not.
    __slots__ = ("eager", "lifetime", "make", "service", "value", "with_request")

    def __init__(
        self,
        service: Any,
        lifetime: ServiceLifetime,
        make: Callable[..., Any],
        value: Any = UNMADE,
        *,
        eager: bool = False,
        with_request: bool = False,
    ) -> None:
        self.service = service
        self.lifetime = lifetime
        self.make = make
        self.value = value
        self.eager = eager
        self.with_request = with_request


class Plan:
    """How to make one service: call *make* with what the plans of its arguments give.

    A singleton's *value* is kept here once it is made. *scoped_path* names the way to a scoped service that
    is made along with this one, *request_path* the way to what only a request brings; empty where there is
    none.
    """

    __slots__ = ("keywords", "lifetime", "make", "name", "positional", "request_path", "scoped_path", "value")

    def __init__(
        self, name: str, lifetime: ServiceLifetime, make: Callable[..., Any], value: Any = UNMADE
    ) -> None:
        self.name = name
        self.lifetime = lifetime
        self.make = make
        self.value = value
        self.positional: list[Plan] = []
        self.keywords: dict[str, Plan] = {}
        self.scoped_path: tuple[str, ...] = ()
        self.request_path: tuple[str, ...] = ()

    @property
    def arguments(self) -> Iterator[Plan]:
        """The plans of all arguments."""
        yield from self.positional
        yield from self.keywords.values()


class DependencyPlanner:
    """Draws plans from registrations.

    Args:
        registrations: What is registered, by the type that arguments ask for.
    """

    def __init__(self, registrations: Mapping[Any, Registration]) -> None:
        self._registrations = registrations
        self._plans: dict[Registration, Plan] = {}
        self._path: list[Registration] = []

    def resolve(self, registration: Registration) -> Plan:
        """Draw the plan for *registration*, and for everything it asks for.

        Raises:
            ServiceError: If something on the way is missing, circular, not annotated, or would outlive
                what it asks for. The message draws the path to it.
        """
        if registration in self._plans:
            return self._plans[registration]
        if registration in self._path:
            raise self._error(
                "this is a circle, and none of them can be made first; let one of them do without another",
                name_of(registration.service),
            )
        self._path.append(registration)
        try:
            plan = self._plans[registration] = self._plan_for(registration)
        finally:
            self._path.pop()
        return plan

    def _plan_for(self, registration: Registration) -> Plan:
        name = name_of(registration.service)
        plan = Plan(name, registration.lifetime, registration.make, registration.value)
        if registration.with_request:
            plan.scoped_path = plan.request_path = (name,)
            return plan
        if plan.value is not UNMADE:
            return plan
        for parameter in _parameters(registration.make):
            argument = self._argument(registration.make, parameter)
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                # A later one cannot be reached past a gap, so the default is passed on like a ready service.
                plan.positional.append(argument or _ready(parameter.name, parameter.default))
            elif argument:
                plan.keywords[parameter.name] = argument
        self._check_lifetime(plan)
        return plan

    def _argument(self, make: Callable[..., Any], parameter: inspect.Parameter) -> Plan | None:
        """Find what *parameter* gets; ``None`` means that its default stays."""
        if parameter.annotation is inspect.Parameter.empty:
            if parameter.default is not _NO_DEFAULT:
                return None
            raise self._error(_without_annotation(make, parameter.name))
        wanted = self._resolve(make, parameter)
        registration = self._registrations.get(wanted) or self._registrations.get(_without_none(wanted))
        if registration:
            return self.resolve(registration)
        if parameter.default is not _NO_DEFAULT:
            return None
        near = next((kind for kind in self._registrations if self._is_near(wanted, kind)), None)
        if near is not None:
            sentence = f"no request brings {name_of(wanted)}; ask for {name_of(near)}"
            raise self._error(sentence, name_of(wanted))
        raise self._error(_nobody_registered(make, parameter.name, wanted), name_of(wanted))

    def _is_near(self, wanted: Any, kind: Any) -> bool:
        """Whether *kind* comes with a request, and *wanted* is a base or a kind of it."""
        return (
            self._registrations[kind].with_request
            and is_class(wanted)
            and wanted is not object
            and (issubclass(wanted, kind) or issubclass(kind, wanted))
        )

    def _resolve(self, make: Callable[..., Any], parameter: inspect.Parameter) -> Any:
        # One at a time: an annotation that is not needed, such as that of the result, may stay unresolved.
        holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        try:
            return get_type_hints(holder, {}, _names(make))[parameter.name]
        except _UNRESOLVED as error:
            raise self._error(_unresolved(make, f"{parameter.name}: {parameter.annotation}", error)) from None

    def _check_lifetime(self, plan: Plan) -> None:
        of_request = next((argument.request_path for argument in plan.arguments if argument.request_path), ())
        if of_request and plan.lifetime is ServiceLifetime.SINGLETON:
            raise self._error(
                f"the singleton {plan.name} would keep the {of_request[-1]} of one request for all others;"
                f" make {plan.name} scoped",
                *of_request,
            )
        if of_request:
            plan.request_path = (plan.name, *of_request)
        below = next((argument.scoped_path for argument in plan.arguments if argument.scoped_path), ())
        if below and plan.lifetime is ServiceLifetime.SINGLETON:
            raise self._error(
                f"the singleton {plan.name} would keep the scoped {below[-1]} beyond its request;"
                f" make {plan.name} scoped, or {below[-1]} a singleton",
                *below,
            )
        if below or plan.lifetime is ServiceLifetime.SCOPED:
            plan.scoped_path = (plan.name, *below)

    def _error(self, sentence: str, *further: str) -> ServiceError:
        path = " -> ".join([*(name_of(step.service) for step in self._path), *further])
        return ServiceError(f"{path}: {sentence}")


def is_class(candidate: object) -> bool:
    """Whether *candidate* is a class; ``list[str]`` only says it is one on Python 3.10."""
    return isinstance(candidate, type) and get_origin(candidate) is None


def is_maker(candidate: object) -> bool:
    """Whether *candidate* makes objects: a class, a function, a method, a ``functools.partial``."""
    return (
        isinstance(candidate, type | functools.partial)
        or get_origin(candidate) is not None
        or inspect.isroutine(candidate)
    )


def name_of(subject: Any) -> str:
    """The name of a type or a factory, as a reader would write it."""
    if get_origin(subject) is not None:
        return repr(subject).replace("typing.", "")
    return str(getattr(_innermost(subject), "__name__", subject))


def result_of(make: Any) -> type[Any] | None:
    """The class of what *make* gives, where it or its annotation tells; of a generator, what it yields."""
    if is_class(make):
        return cast("type[Any]", make)
    annotation = getattr(_innermost(make), "__annotations__", {}).get("return")
    holder = types.SimpleNamespace(__annotations__={"return": annotation})
    try:
        result = get_type_hints(holder, {}, _names(make))["return"]
    except _UNRESOLVED:
        return None
    result = get_args(result)[0] if get_origin(result) in _YIELDING else result
    return result if is_class(result) and result is not types.NoneType else None


def _ready(name: str, value: Any) -> Plan:
    return Plan(name, ServiceLifetime.SINGLETON, lambda: value, value)


def _parameters(make: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(make)
    except ValueError:  # some types written in C do not tell; they are called without arguments
        return []
    except NameError as error:  # Python 3.14 evaluates annotations when they are asked for
        raise ServiceError(f"{name_of(make)}: {_unresolved(make, 'an annotation', error)}") from None
    return [parameter for parameter in signature.parameters.values() if parameter.kind in _INJECTED]


def _names(make: Any) -> ChainMap[str, Any]:
    """The names that the annotations of *make* may use: those of its function, then those of its class."""
    innermost = _innermost(make)
    functions = (innermost, getattr(innermost, "__init__", None), getattr(innermost, "__new__", None))
    own = (getattr(_innermost(function), "__globals__", {}) for function in functions)
    # A dataclass or a named tuple repeats annotations that were written in the modules of its bases.
    modules = (sys.modules.get(base.__module__) for base in getattr(innermost, "__mro__", ()))
    return ChainMap(*own, *(vars(module) for module in modules if module))


def _innermost(make: Any) -> Any:
    """What is left of *make* without decorators, partial arguments and type arguments."""
    while True:
        inner: Any = inspect.unwrap(make)
        if isinstance(make, functools.partial):
            inner = make.func
        inner = get_origin(inner) or inner
        if inner is make:
            return inner
        make = inner


def _without_none(wanted: Any) -> Any:
    options = [option for option in get_args(wanted) if option is not types.NoneType]
    return options[0] if get_origin(wanted) in _UNIONS and len(options) == 1 else wanted


def _without_annotation(make: Callable[..., Any], parameter: str) -> str:
    if name_of(make) == "<lambda>":
        return f"a lambda cannot say what type its parameter {parameter} has; write a def with annotations"
    return (
        f"the parameter {parameter} of {name_of(make)} has no type annotation;"
        f" write {parameter}: TheServiceItNeeds, or give it a default"
    )


def _unresolved(make: Callable[..., Any], annotation: str, error: Exception) -> str:
    return (
        f"the annotation {annotation!r} of {name_of(make)} cannot be resolved ({error});"
        " import the name at the top of the module, not only under TYPE_CHECKING or inside a function"
    )


def _nobody_registered(make: Callable[..., Any], parameter: str, wanted: Any) -> str:
    name = name_of(wanted)
    if get_origin(wanted) in _UNIONS:
        return f"nobody registered any of this; write {parameter}: OneService, or give it a default"
    if getattr(wanted, "__module__", None) in {"builtins", "typing"}:
        return (
            f"{name} is no service that can be injected as {parameter}; give {parameter} a default,"
            f" or register {name_of(make)} with a factory that passes it"
        )
    example = f"{name}, My{name}" if _is_abstract(wanted) else name
    return (
        f"nobody registered {name}; add builder.services.add_singleton({example})"
        " (or add_scoped/add_transient)"
    )


def _is_abstract(wanted: Any) -> bool:
    return inspect.isabstract(wanted) or bool(getattr(wanted, "_is_protocol", False))
