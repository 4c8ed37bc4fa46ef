"""Services: what handlers are given as constructor arguments, by type annotation.

``builder.services`` is a :class:`ServiceCollection`. A handler, or a service, says in its constructor what it
needs, and gets it::

    class SupportHandler(InvocationHandler):
        def __init__(self, tickets: TicketStore) -> None: ...

    builder.services.add_singleton(Database, connect).add_scoped(TicketStore)

A singleton is made once, at first use or, if it is *eager*, when the host starts, and closed at shutdown. A
scoped service is made once for each request, and closed when the request ends. A transient one is made at
each injection, and closed with what it was made for: the request, or the singleton.

Handlers, scoped and transient services may also ask for what each request brings: its ``InvocationContext``
and its ``web.Request``. On a WebSocket these are of the connection.

Health checks, start-up and shutdown hooks are given services as arguments, too. To a scoped service, one call
of such a function is what a request is.

**Closing.** What a factory or a class makes belongs to the container, which ends it, the last one made first:

- what a generator or async generator function yields is the service, and the rest of it runs at the end;
- an async context manager or context manager is entered, and what entering gives is the service
  (the object itself, where that is ``None``), as in ``async with Session() as session``;
- of anything else ``aclose()`` or ``close()`` is called, if there is one that needs no arguments.

Locks and semaphores are not entered. An object that was registered ready-made is never closed, nor is one
that a factory only hands on from its arguments. Context managers and generators see the exception that ended
the request, so that ``async with session.begin(): yield session`` rolls back; they cannot swallow it. An
error while closing is logged, the other services are closed all the same, and the response stays as it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar, overload

from agentserver._services.ends import has_end
from agentserver._services.planner import (
    UNMADE,
    DependencyPlanner,
    Plan,
    Registration,
    ServiceLifetime,
    is_class,
    is_maker,
    name_of,
    result_of,
)
from agentserver._services.scopes import HandlerScope, InjectedCall, Singletons
from agentserver.errors import ServiceError

if TYPE_CHECKING:
    from agentserver._services.typing import Maker, NewTypeKey, Ready, ServiceKey, ServiceT

__all__ = ["InjectingFactory", "ServiceCollection", "ServiceProvider"]

HandlerT = TypeVar("HandlerT")


class ServiceCollection:
    """The services that handlers may ask for. Of two registrations of one type the last one counts.

    The type to ask for may be any class; abstract ones, protocols, ``Repository[User]`` and a ``NewType`` are
    fine. What makes it is the class itself, a class that implements it, or a factory: a function, sync or
    async, or a generator function, whose parameters are injected in the same way. Parameters that have a
    default keep it when nobody registered their type.

    The ``add_`` methods return the collection, and raise :class:`~agentserver.errors.ServiceError` for what
    cannot make the service.
    """

    def __init__(self) -> None:
        self._registrations: dict[Any, Registration] = {}

    @overload
    def add_singleton(
        self,
        service: ServiceKey[ServiceT],
        implementation: Ready[ServiceT] | Maker[ServiceT] | None = None,
        *,
        eager: bool = False,
    ) -> ServiceCollection: ...

    @overload
    def add_singleton(
        self, service: NewTypeKey, implementation: object = None, *, eager: bool = False
    ) -> ServiceCollection: ...

    def add_singleton(
        self, service: Any, implementation: Any = None, *, eager: bool = False
    ) -> ServiceCollection:
        """Register a service that is made once and lives until shutdown.

        Args:
            service: The type that arguments ask for.
            implementation: A class, a factory, or the ready object; *service* itself if left out. A function
                is a factory: to register a function as the object, give ``lambda: function``.
            eager: Whether it is made when the host starts, before the start-up hooks and the first request,
                instead of at first use. If that fails, the process ends with one line that says so.

        Returns:
            The collection itself.

        Raises:
            ServiceError: If the object is none of that type.
        """
        if implementation is None or is_maker(implementation):
            return self._add(service, ServiceLifetime.SINGLETON, implementation, eager=eager)
        _check_key(service)
        if _is_checkable(service) and not isinstance(implementation, service):
            raise ServiceError(
                f"add_singleton({name_of(service)}, …): the object is of the type"
                f" {type(implementation).__name__}, not {name_of(service)};"
                " give one, or a class or function that makes one"
            )
        self._registrations[service] = Registration(
            service, ServiceLifetime.SINGLETON, lambda: implementation, implementation
        )
        return self

    @overload
    def add_scoped(
        self, service: ServiceKey[ServiceT], implementation: Maker[ServiceT] | None = None
    ) -> ServiceCollection: ...

    @overload
    def add_scoped(self, service: NewTypeKey, implementation: object = None) -> ServiceCollection: ...

    def add_scoped(self, service: Any, implementation: Any = None) -> ServiceCollection:
        """Register a service that is made once for each request, and closed when the request ends.

        Args:
            service: The type that arguments ask for.
            implementation: A class or a factory; *service* itself if left out.

        Returns:
            The collection itself.
        """
        return self._add(service, ServiceLifetime.SCOPED, implementation)

    @overload
    def add_transient(
        self, service: ServiceKey[ServiceT], implementation: Maker[ServiceT] | None = None
    ) -> ServiceCollection: ...

    @overload
    def add_transient(self, service: NewTypeKey, implementation: object = None) -> ServiceCollection: ...

    def add_transient(self, service: Any, implementation: Any = None) -> ServiceCollection:
        """Register a service that is made anew for each argument that asks for it.

        Args:
            service: The type that arguments ask for.
            implementation: A class or a factory; *service* itself if left out.

        Returns:
            The collection itself.
        """
        return self._add(service, ServiceLifetime.TRANSIENT, implementation)

    def build(self, with_request: Iterable[type[Any]] = ()) -> ServiceProvider:
        """Make the provider of what is registered by now; later registrations do not reach it.

        Args:
            with_request: The types of which every request brings an object. A registration wins over them.
        """
        brought = {
            kind: Registration(kind, ServiceLifetime.SCOPED, kind, with_request=True) for kind in with_request
        }
        return ServiceProvider({**brought, **self._registrations})

    def _add(
        self, service: Any, lifetime: ServiceLifetime, implementation: Any, *, eager: bool = False
    ) -> ServiceCollection:
        _check_key(service)
        make = service if implementation is None else implementation
        _check_maker(service, make, f"add_{lifetime.value}({name_of(service)}")
        self._registrations[service] = Registration(service, lifetime, _as_maker(make), eager=eager)
        return self


class ServiceProvider:
    """Makes handlers with all they ask for, and holds the singletons. Belongs to one event loop."""

    def __init__(self, registrations: dict[Any, Registration]) -> None:
        self._registrations = registrations
        self._planner = DependencyPlanner(registrations)
        self._singletons = Singletons()

    def handler_factory(self, handler: object) -> InjectingFactory[Any]:
        """Make the maker of *handler* objects, and check everything they will need.

        Args:
            handler: The handler's class (its registration, if it has one); a factory, whose parameters are
                injected; or a ready object, which is then shared by all requests and never closed.

        Raises:
            ServiceError: If something that the handler asks for, directly or not, is missing, circular,
                not annotated, or a scoped service that a singleton asks for. One sentence with the path.
        """
        plan = self._planner.resolve(self._registration(handler))
        handler_type = result_of(handler) if is_maker(handler) else type(handler)
        brought = {
            kind: self._planner.resolve(registration)
            for kind, registration in self._registrations.items()
            if registration.with_request and plan.request_path
        }
        return InjectingFactory(plan, self._singletons, handler_type, brought)

    def call(self, function: Callable[..., Any], name: str) -> Callable[[], Awaitable[Any]]:
        """Make the call of *function* with what its parameters ask for, in a scope of its own.

        Args:
            function: A function, async or not, or anything else that can be called.
            name: What it is, for the sentence of an error.

        Raises:
            ServiceError: As for `handler_factory`, or if it asks for what only a request brings.
        """
        make = function
        if not is_maker(function):  # an object that can be called: its method tells what it asks for
            make = function.__call__  # type: ignore[operator]  # mypy knows no attributes of what is callable
        plan = self._planner.resolve(Registration(name, ServiceLifetime.SCOPED, make))
        if plan.request_path:
            raise ServiceError(
                f"{' -> '.join(plan.request_path)}: there is no {plan.request_path[-1]} outside of a request;"
                f" only handlers and what is made for them can ask for it"
            )
        return InjectedCall(plan, self._singletons)

    def eager(self) -> list[tuple[str, Callable[[], Awaitable[Any]]]]:
        """The singletons to make when the host starts: the name of each, and what makes it.

        Raises:
            ServiceError: As for `handler_factory`.
        """
        plans = [
            self._planner.resolve(registration)
            for registration in self._registrations.values()
            if registration.eager
        ]
        return [(plan.name, functools.partial(self._singletons.get, plan)) for plan in plans]

    async def aclose(self) -> None:
        """Close the singletons, the last one made first. Errors are logged, none is raised."""
        await self._singletons.aclose()

    def _registration(self, handler: Any) -> Registration:
        if not is_maker(handler):
            return Registration(type(handler), ServiceLifetime.SINGLETON, lambda: handler, handler)
        registered = self._registrations.get(handler)
        return registered or Registration(handler, ServiceLifetime.SCOPED, _as_maker(handler))


class InjectingFactory(Generic[HandlerT]):
    """Makes one handler for each request.

    Attributes:
        needs_scope: Whether the handler must come from :meth:`scope`, because making it may wait, or because
            something is to be closed after the request.
        handler_type: The handler's class; ``None`` for a factory whose result is not annotated.
    """

    needs_scope: bool
    handler_type: type[HandlerT] | None

    def __init__(
        self,
        plan: Plan,
        singletons: Singletons,
        handler_type: type[HandlerT] | None,
        brought: Mapping[Any, Plan],
    ) -> None:
        self._plan = plan
        self._singletons = singletons
        self._brought = brought
        at_once = _made_at_once(plan)
        self.needs_scope = at_once is None
        self.handler_type = handler_type
        self._create = at_once or self._refuse

    @property
    def create(self) -> Callable[[], HandlerT]:
        """Makes a handler at once, the class itself where it asks for nothing; not with ``needs_scope``."""
        return self._create

    def scope(self, brought: Mapping[type[Any], Any] | None = None) -> AbstractAsyncContextManager[HandlerT]:
        """Open the scope of one request: ``async with factory.scope() as handler``.

        What the factories raise comes out of entering it; what was made before is closed.

        Args:
            brought: The object of each type that every request brings.
        """
        if not self._brought:
            return HandlerScope(self._plan, self._singletons)
        objects = brought or {}
        return HandlerScope(
            self._plan, self._singletons, {plan: objects[kind] for kind, plan in self._brought.items()}
        )

    def _refuse(self) -> HandlerT:
        raise RuntimeError(f"{self._plan.name} needs a scope; use: async with factory.scope() as handler")


def _check_key(service: Any) -> None:
    if not (isinstance(service, type) or hasattr(service, "__origin__") or hasattr(service, "__supertype__")):
        raise ServiceError(
            f"a service is registered by its type, not by {service!r}; name the type that arguments"
            " ask for first, as in add_singleton(Database, the_database)"
        )


def _check_maker(service: Any, make: Any, call: str) -> None:
    if not is_maker(make) and make is not service:
        raise ServiceError(
            f"{call}, …): a {type(make).__name__} cannot make anything; give a class or a function"
            " (only add_singleton takes a ready object)"
        )
    if inspect.isabstract(make) or getattr(make, "_is_protocol", False):
        raise ServiceError(
            f"{call}): {name_of(make)} is abstract; add the class or the function that makes one: {call}, …)"
        )
    if is_class(make) and _is_checkable(service) and not issubclass(make, service):
        raise ServiceError(
            f"{call}, {name_of(make)}): {name_of(make)} is not a subclass of {name_of(service)};"
            " derive it, or give a function that makes one"
        )


def _is_checkable(service: Any) -> TypeGuard[type[Any]]:
    return is_class(service) and not getattr(service, "_is_protocol", False)


def _as_maker(make: Any) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(make):
        return asynccontextmanager(make)
    if inspect.isgeneratorfunction(make):
        return contextmanager(make)
    return make  # type: ignore[no-any-return]  # checked when it was registered


def _made_at_once(plan: Plan) -> Callable[[], Any] | None:
    """What makes the handler without waiting and leaves nothing to close; ``None`` where nothing can."""
    if plan.value is not UNMADE:
        return plan.make
    ready = all(argument.value is not UNMADE for argument in plan.arguments)
    if not ready or not is_class(plan.make) or has_end(plan.make):
        return None
    if plan.lifetime is ServiceLifetime.SINGLETON:
        return None
    positional = [argument.value for argument in plan.positional]
    keywords = {name: argument.value for name, argument in plan.keywords.items()}
    return functools.partial(plan.make, *positional, **keywords) if positional or keywords else plan.make
