"""What type checkers are told of registrations, so that a wrong implementation is an error before the start.

Nothing here is loaded while a server runs.

An implementation must make what the first argument, the key, says. Left to themselves, type checkers find a
type that key and implementation have in common, which is ``object`` at worst, and accept anything. So the
key alone must decide, and the two checkers take different hints for that:

- To pyright, ``type.__subclasses__`` gives a list, which is invariant: it ties the type to the key.
- mypy does not look at methods of a class's class. It ignores what it could read in two ways: an
  implementation, as an object or as something that makes one. `Unread` gives ready objects a second reading.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import CodeType
from typing import Any, Protocol, TypeAlias, TypeVar

ServiceT = TypeVar("ServiceT")
ServiceT_co = TypeVar("ServiceT_co", covariant=True)

MYPY = False  # the name by which mypy, and nobody else, takes it for true

if MYPY:

    class ServiceKey(Protocol[ServiceT_co]):  # pyright: ignore[reportRedeclaration]  # the one for mypy
        """A class, abstract or not, a protocol, ``Repository[User]`` or a ``NewType``."""

        def __call__(self, *arguments: Any, **named: Any) -> ServiceT_co:
            """Make one, as calling a class does."""
            ...

else:

    class ServiceKey(Protocol[ServiceT]):
        """A class, abstract or not, a protocol, or ``Repository[User]``."""

        def __subclasses__(self) -> list[type[ServiceT]]:
            """What ``type`` has."""
            ...


class NewTypeKey(Protocol):
    """A ``NewType``, which is a function to pyright, whose implementation it then does not check."""

    @property
    def __code__(self) -> CodeType:
        """What a function has and a class has not."""
        ...


class Unread(Protocol[ServiceT_co]):
    """Nothing is this: it keeps mypy from reading the key's type off a ready object."""

    def __hash__(self) -> ServiceT_co:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # on purpose: see above
        ...

    def __repr__(self) -> ServiceT_co:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # on purpose: see above
        ...


Made: TypeAlias = (
    ServiceT
    | Awaitable[ServiceT]
    | Iterator[ServiceT]
    | AsyncIterator[ServiceT]
    | AbstractContextManager[ServiceT]
    | AbstractAsyncContextManager[ServiceT]
)
"""What calling a class or a factory may give: the service, or what gives it when awaited, entered or run."""

Maker: TypeAlias = Callable[..., Made[ServiceT]]
"""A class or a factory."""

Ready: TypeAlias = ServiceT | Unread[ServiceT]
"""The object itself."""
