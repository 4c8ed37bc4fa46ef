from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import mmap
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NewType, Optional, Protocol, TypeVar

import pytest

from agentserver._services.collection import ServiceCollection
from agentserver.errors import ServiceError

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")


class Journal(list[str]):
    """What happened, in order."""


class Database:
    pass


class TicketStore:
    def __init__(self, database: Database) -> None:
        self.database = database


class SupportHandler:
    def __init__(self, store: TicketStore) -> None:
        self.store = store


class PlainHandler:
    pass


class Clock:
    pass


class Session:
    pass


async def made(services: ServiceCollection, handler: Any) -> Any:
    """Make one handler, as an endpoint does, and close what was made for it."""
    factory = services.build().handler_factory(handler)
    if not factory.needs_scope:
        return factory.create()
    async with factory.scope() as one:
        return one


async def until(condition: Callable[[], bool]) -> None:
    """Let the other tasks run until *condition* holds; the test's own time limit ends a wait in vain."""
    while not condition():
        await asyncio.sleep(0)


def giving(make: Callable[[], Any]) -> Callable[[], Any]:
    """A factory function that gives what *make* does, of whatever type it is."""

    def give() -> Any:
        return make()

    return give


def refusal(services: ServiceCollection, handler: Any) -> str:
    """The sentence with which the start is refused."""
    with pytest.raises(ServiceError) as caught:
        services.build().handler_factory(handler)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert caught.value.__cause__ is None
    return sentence


# -- what is injected


async def test_constructor_arguments_are_injected_by_annotation_all_the_way_down() -> None:
    handler = await made(ServiceCollection().add_singleton(Database).add_scoped(TicketStore), SupportHandler)
    assert isinstance(handler.store.database, Database)


async def test_the_last_of_two_registrations_counts() -> None:
    database = Database()
    services = ServiceCollection().add_singleton(Database).add_singleton(Database, database)
    handler = await made(services.add_scoped(TicketStore), SupportHandler)
    assert handler.store.database is database


async def test_what_is_registered_after_build_does_not_reach_the_provider() -> None:
    services = ServiceCollection().add_transient(Database).add_transient(TicketStore)
    provider = services.build()
    services.add_singleton(TicketStore, TicketStore(Database()))
    factory = provider.handler_factory(SupportHandler)
    async with factory.scope() as one, factory.scope() as other:
        assert one.store is not other.store


async def test_a_registration_of_the_handler_itself_makes_the_handler() -> None:
    handler = SupportHandler(TicketStore(Database()))
    services = ServiceCollection().add_scoped(SupportHandler, lambda: handler)
    assert await made(services, SupportHandler) is handler


class Storage(ABC):
    @abstractmethod
    def load(self) -> str: ...


class Files(Storage):
    def load(self) -> str:
        return "files"


class Greets(Protocol):
    def greet(self) -> str: ...


class Waving:
    def greet(self) -> str:
        return "wave"


class Repository(Generic[T]):
    pass


class Settings(NamedTuple):
    database: Database


async def test_the_annotations_of_a_named_tuple_are_resolved() -> None:
    settings = await made(ServiceCollection().add_scoped(Database), Settings)
    assert isinstance(settings.database, Database)


BASE_MODULE = """
from __future__ import annotations
from dataclasses import dataclass

class Ledger:
    pass

@dataclass
class Base:
    ledger: Ledger
"""


async def test_the_annotations_of_a_dataclass_are_resolved_where_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base_of_a_dataclass.py").write_text(BASE_MODULE)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    module = importlib.import_module("base_of_a_dataclass")
    derived: type[Any] = dataclass(type("Derived", (module.Base,), {"__annotations__": {"clock": "Clock"}}))
    handler = await made(ServiceCollection().add_scoped(module.Ledger).add_scoped(Clock), derived)
    assert isinstance(handler.ledger, module.Ledger)
    assert isinstance(handler.clock, Clock)


Region = NewType("Region", str)


@dataclass
class Everything:
    storage: Storage
    greets: Greets
    repository: Repository[int]
    region: Region


async def test_a_service_may_be_asked_for_by_abstract_class_protocol_generic_type_or_new_type() -> None:
    services = (
        ServiceCollection()
        .add_singleton(Storage, Files)
        .add_scoped(Greets, Waving)
        .add_transient(Repository[int])
        .add_singleton(Region, Region("north"))
    )
    handler = await made(services, Everything)
    assert (handler.storage.load(), handler.greets.greet(), handler.region) == ("files", "wave", "north")
    assert isinstance(handler.repository, Repository)


class ManyDefaults:
    def __init__(  # type: ignore[no-untyped-def]  # one parameter is the case under test
        self,
        first: Clock = Clock(),  # noqa: B008  # the default is compared by identity
        /,
        second: Database | None = None,
        third: Optional[Session] = None,  # noqa: UP045  # the older spelling is in use
        *args: Any,
        untyped=7,  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]  # the case under test
        timeout: float = 1.5,
        **more: Any,
    ) -> None:
        self.arguments = (first, second, third, untyped, timeout)
        self.rest = (args, more)


async def test_arguments_with_a_default_keep_it_when_nobody_registered_their_type() -> None:
    handler = await made(ServiceCollection(), ManyDefaults)
    assert handler.arguments == ManyDefaults().arguments
    assert handler.rest == ((), {})


async def test_arguments_with_a_default_get_the_service_when_it_is_registered() -> None:
    clock, database, session = Clock(), Database(), Session()
    services = ServiceCollection().add_singleton(Clock, clock).add_singleton(Database, database)
    handler = await made(services.add_singleton(Session, session), ManyDefaults)
    assert handler.arguments == (clock, database, session, 7, 1.5)


async def test_one_positional_only_argument_after_a_default_still_gets_its_service() -> None:
    def make(timeout: float = 2.0, clock: Clock = None, /) -> tuple[float, Clock]:  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]  # a default that only stands in
        return timeout, clock

    clock = Clock()
    assert await made(ServiceCollection().add_singleton(Clock, clock), make) == (2.0, clock)


async def make_store(database: Database) -> TicketStore:
    await asyncio.sleep(0)
    return TicketStore(database)


def make_handler(store: TicketStore) -> SupportHandler:
    return SupportHandler(store)


class Maker:
    def make(self, database: Database) -> TicketStore:
        return TicketStore(database)


def store_with_name(name: str, database: Database) -> TicketStore:
    store = TicketStore(database)
    store.name = name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # a mark for the test
    return store


async def store_in_turn(database: Database) -> AsyncGenerator[TicketStore, None]:
    yield TicketStore(database)


@pytest.mark.parametrize(
    "factory",
    [
        make_store,
        Maker().make,
        functools.partial(store_with_name, "main"),
        functools.partial(store_in_turn),
        functools.cache(lambda: TicketStore(Database())),
        lambda: make_store(Database()),
        asynccontextmanager(store_in_turn),
    ],
    ids=["async", "method", "partial", "partial generator", "cached", "lambda with a coroutine", "decorated"],
)
async def test_a_factory_may_be_any_kind_of_function(factory: Any) -> None:
    services = ServiceCollection().add_singleton(Database).add_scoped(TicketStore, factory)
    handler = await made(services, make_handler)
    assert isinstance(handler.store, TicketStore)
    assert isinstance(handler.store.database, Database)


async def test_a_factory_may_give_none_and_is_not_asked_again() -> None:
    calls: list[int] = []

    def no_database() -> None:
        calls.append(1)

    factory = ServiceCollection().add_singleton(Database, no_database).build().handler_factory(TicketStore)
    for _ in range(2):
        async with factory.scope() as store:
            assert store.database is None
    assert calls == [1]


# -- lifetimes


class Pair:
    def __init__(self, one: Session, other: Session, database: Database) -> None:
        self.one, self.other, self.database = one, other, database


@pytest.mark.parametrize(
    ("lifetime", "same_in_request", "same_across"),
    [("singleton", True, True), ("scoped", True, False), ("transient", False, False)],
)
async def test_each_lifetime_shares_as_its_name_says(
    lifetime: str, same_in_request: bool, same_across: bool
) -> None:
    services = ServiceCollection().add_singleton(Database)
    getattr(services, f"add_{lifetime}")(Session)
    factory = services.build().handler_factory(Pair)
    async with factory.scope() as first, factory.scope() as second:
        assert (first.one is first.other) is same_in_request
        assert (first.one is second.one) is same_across
        assert first is not second
        assert first.database is second.database


async def test_two_scopes_open_at_once_are_separate() -> None:
    ended: list[object] = []

    async def session() -> AsyncIterator[Session]:
        one = Session()
        await asyncio.sleep(0)
        yield one
        ended.append(one)

    factory = (
        ServiceCollection().add_singleton(Database).add_scoped(Session, session).build().handler_factory(Pair)
    )
    opened: list[object] = []

    async def request() -> Session:
        async with factory.scope() as handler:
            opened.append(handler)
            await until(lambda: len(opened) == 2)
            assert handler.one not in ended
            return handler.one  # type: ignore[no-any-return]  # handlers are Any here

    first, second = await asyncio.gather(request(), request())
    assert first is not second
    assert {id(one) for one in ended} == {id(first), id(second)}


async def test_a_singleton_with_an_async_factory_is_made_once_under_concurrent_first_use() -> None:
    calls: list[int] = []
    go = asyncio.Event()

    async def connect() -> Database:
        calls.append(1)
        await go.wait()
        return Database()

    factory = (
        ServiceCollection().add_singleton(Database, connect).add_transient(TicketStore).build()
    ).handler_factory(SupportHandler)
    requests = [asyncio.create_task(_database_of(factory)) for _ in range(20)]
    await until(lambda: bool(calls))
    go.set()
    assert len({id(one) for one in await asyncio.gather(*requests)}) == 1
    assert calls == [1]


async def _database_of(factory: Any) -> object:
    async with factory.scope() as handler:
        return handler.store.database


async def test_a_singleton_outlives_the_cancelled_request_that_asked_first() -> None:
    calls: list[int] = []
    go = asyncio.Event()

    async def connect() -> Database:
        calls.append(1)
        await go.wait()
        return Database()

    services = ServiceCollection().add_singleton(Database, connect).add_transient(TicketStore)
    factory = services.build().handler_factory(SupportHandler)
    first, second = (asyncio.create_task(_database_of(factory)) for _ in range(2))
    await until(lambda: bool(calls))
    first.cancel()
    await asyncio.wait([first])
    go.set()
    assert isinstance(await second, Database)
    assert first.cancelled()
    assert calls == [1]


async def test_a_singleton_whose_making_failed_is_tried_again_by_the_next_request() -> None:
    calls: list[int] = []

    async def connect() -> Database:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionRefusedError("not yet")
        return Database()

    services = ServiceCollection().add_singleton(Database, connect).add_transient(TicketStore)
    factory = services.build().handler_factory(SupportHandler)
    with pytest.raises(ConnectionRefusedError, match="not yet"):
        await _database_of(factory)
    assert isinstance(await _database_of(factory), Database)


async def test_a_singleton_does_not_take_the_context_of_the_request_that_asks_first() -> None:
    request_id = contextvars.ContextVar("request_id", default="none")
    seen: list[str] = []
    services = ServiceCollection().add_singleton(Database, lambda: seen.append(request_id.get()))
    factory = services.build().handler_factory(TicketStore)
    request_id.set("request-1")
    async with factory.scope():
        assert seen == ["none"]


async def test_a_singleton_is_entered_and_left_in_one_task() -> None:
    tasks: list[object] = []

    async def connect() -> AsyncIterator[Database]:
        tasks.append(asyncio.current_task())
        yield Database()
        tasks.append(asyncio.current_task())

    provider = ServiceCollection().add_singleton(Database, connect).build()
    async with provider.handler_factory(TicketStore).scope():
        pass
    await provider.aclose()
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]
    assert tasks[0] is not asyncio.current_task()


# -- closing


class Entered:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def __aenter__(self) -> Entered:
        self.journal.append("enter async")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.journal.append("leave async")


class EnteredSync:
    def __init__(self, journal: Journal, before: Entered) -> None:
        self.journal = journal

    def __enter__(self) -> None:
        self.journal.append("enter sync")

    def __exit__(self, *exception: object) -> None:
        self.journal.append("leave sync")


class AsyncClosed:
    def __init__(self, journal: Journal, before: EnteredSync) -> None:
        self.journal = journal

    async def aclose(self) -> None:
        self.journal.append("aclose")

    def close(self) -> None:
        self.journal.append("never: aclose is there")


class Closed:
    def __init__(self, journal: Journal, before: AsyncClosed) -> None:
        self.journal = journal

    def close(self) -> None:
        self.journal.append("close")


class Generated:
    pass


class AsyncGenerated:
    pass


def generated(journal: Journal, before: Closed) -> Iterator[Generated]:
    journal.append("before yield")
    yield Generated()
    journal.append("after yield")


async def async_generated(journal: Journal, before: Generated) -> AsyncIterator[AsyncGenerated]:
    journal.append("before async yield")
    yield AsyncGenerated()
    journal.append("after async yield")


class ClosingHandler:
    def __init__(self, journal: Journal, last: AsyncGenerated) -> None:
        self.journal = journal

    async def close(self) -> None:
        self.journal.append("handler close")


OPENED = ["enter async", "enter sync", "before yield", "before async yield"]
CLOSED = ["after async yield", "after yield", "close", "aclose", "leave sync", "leave async"]


def all_kinds(journal: Journal, lifetime: str) -> ServiceCollection:
    services = ServiceCollection().add_singleton(Journal, journal)
    add: Callable[..., ServiceCollection] = getattr(services, f"add_{lifetime}")
    for kind in (AsyncClosed, Entered, Closed, EnteredSync):
        add(kind)
    add(Generated, generated)
    return add(AsyncGenerated, async_generated)


@pytest.mark.parametrize("lifetime", ["scoped", "transient"])
async def test_what_was_made_for_a_request_is_closed_in_reverse_when_it_ends(lifetime: str) -> None:
    journal = Journal()
    factory = all_kinds(journal, lifetime).build().handler_factory(ClosingHandler)
    async with factory.scope():
        assert journal == OPENED
    assert journal == [*OPENED, "handler close", *CLOSED]


async def test_singletons_are_closed_in_reverse_at_shutdown_and_only_once() -> None:
    journal = Journal()
    provider = all_kinds(journal, "singleton").build()
    factory = provider.handler_factory(ClosingHandler)
    for _ in range(2):
        async with factory.scope():
            pass
    assert journal == [*OPENED, "handler close", "handler close"]
    del journal[:]
    await provider.aclose()
    await provider.aclose()
    assert journal == CLOSED


async def test_closing_a_provider_of_which_nothing_was_used_makes_nothing() -> None:
    journal = Journal()
    provider = all_kinds(journal, "singleton").build()
    provider.handler_factory(ClosingHandler)
    await provider.aclose()
    assert journal == []


async def test_a_transient_made_for_a_singleton_is_closed_with_it() -> None:
    journal = Journal()
    services = ServiceCollection().add_singleton(Journal, journal).add_transient(Entered)
    provider = services.add_singleton(EnteredSync).build()
    async with provider.handler_factory(_keeps_sync).scope():
        pass
    assert journal == ["enter async", "enter sync"]
    await provider.aclose()
    assert journal == ["enter async", "enter sync", "leave sync", "leave async"]


def _keeps_sync(service: EnteredSync) -> EnteredSync:
    return service


async def test_shutdown_ends_a_singleton_that_is_still_being_made() -> None:
    journal = Journal()

    async def connect() -> Database:
        try:
            await asyncio.Event().wait()
        finally:
            journal.append("cancelled")
        return Database()

    services = ServiceCollection().add_singleton(Journal, journal).add_transient(Entered)
    services.add_singleton(Database, connect)
    services.add_singleton(EnteredDatabase)
    provider = services.build()
    request = asyncio.create_task(_database_of(provider.handler_factory(_holds)))
    await until(lambda: bool(journal))
    await provider.aclose()
    await asyncio.wait([request])
    assert request.cancelled()
    assert journal == ["enter async", "leave async", "cancelled"]


class EnteredDatabase:
    def __init__(self, entered: Entered, database: Database) -> None: ...


def _holds(database: EnteredDatabase) -> EnteredDatabase:
    return database


async def test_an_exception_in_the_request_still_closes_its_services_and_comes_out_unchanged() -> None:
    journal = Journal()
    factory = all_kinds(journal, "scoped").build().handler_factory(ClosingHandler)
    error = LookupError("of the handler")
    with pytest.raises(LookupError) as caught:
        async with factory.scope():
            raise error
    assert caught.value is error
    # a generator without try or with ends where it is, as in contextlib
    assert journal == [*OPENED, "handler close", "close", "aclose", "leave sync", "leave async"]


async def test_generators_and_context_managers_see_the_exception_but_cannot_swallow_it() -> None:
    seen: list[object] = []

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session()
        except LookupError as error:
            seen.append(error)

    class Swallows:
        def __enter__(self) -> None: ...

        def __exit__(self, kind: object, error: object, trace: object) -> bool:
            seen.append(error)
            return True

    services = ServiceCollection().add_scoped(Session, session).add_scoped(Database, giving(Swallows))
    error = LookupError("of the handler")
    with pytest.raises(LookupError):
        async with services.build().handler_factory(Pair).scope():
            raise error
    assert seen == [error, error]


async def test_a_cancelled_request_closes_its_services() -> None:
    journal = Journal()
    factory = all_kinds(journal, "scoped").build().handler_factory(ClosingHandler)

    async def request() -> None:
        async with factory.scope():
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await until(lambda: len(journal) == len(OPENED))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert journal[-5:] == ["handler close", "close", "aclose", "leave sync", "leave async"]


async def test_a_cancellation_that_arrives_while_closing_still_closes_the_rest_and_goes_on() -> None:
    journal = Journal()
    closing = asyncio.Event()

    class Slow:
        async def aclose(self) -> None:
            closing.set()
            await asyncio.Event().wait()

    def slow(entered: Entered) -> Slow:
        return Slow()

    services = ServiceCollection().add_singleton(Journal, journal).add_scoped(Entered)
    factory = services.add_scoped(Session, slow).build().handler_factory(_session_of)

    async def request() -> None:
        async with factory.scope():
            pass

    task = asyncio.create_task(request())
    await closing.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert journal == ["enter async", "leave async"]


def _session_of(session: Session) -> Session:
    return session


async def test_an_error_while_closing_is_the_requests_once_the_rest_is_closed() -> None:
    journal = Journal()

    async def session(entered: Entered) -> AsyncIterator[Session]:
        yield Session()
        raise OSError("the disk is full")

    services = ServiceCollection().add_singleton(Journal, journal).add_scoped(Entered)
    factory = services.add_scoped(Session, session).build().handler_factory(_session_of)
    with pytest.raises(OSError, match="the disk is full"):
        async with factory.scope() as handler:
            assert isinstance(handler, Session)
    assert journal == ["enter async", "leave async"]


async def test_an_error_while_closing_does_not_replace_the_exception_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Breaks:
        def close(self) -> None:
            raise OSError("the disk is full")

    services = ServiceCollection().add_scoped(Session, giving(Breaks))
    with pytest.raises(LookupError, match="of the handler"):
        async with services.build().handler_factory(_session_of).scope():
            raise LookupError("of the handler")
    assert "the disk is full" in caplog.text
    assert "of the handler" not in [record.getMessage() for record in caplog.records]


async def test_an_error_while_a_singleton_closes_is_logged_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal = Journal()

    def breaks(entered: Entered) -> Iterator[Session]:
        yield Session()
        raise OSError("the disk is full")

    services = ServiceCollection().add_singleton(Journal, journal).add_singleton(Entered)
    provider = services.add_singleton(Session, breaks).build()
    async with provider.handler_factory(_session_of).scope():
        pass
    await provider.aclose()
    assert journal == ["enter async", "leave async"]
    assert "Closing Session failed" in caplog.text
    assert "the disk is full" in caplog.text


async def test_a_factory_that_fails_closes_what_was_made_before_it() -> None:
    journal = Journal()

    def fails(entered: Entered) -> Session:
        raise ConnectionRefusedError("nobody listens")

    services = ServiceCollection().add_singleton(Journal, journal).add_scoped(Entered)
    with pytest.raises(ConnectionRefusedError, match="nobody listens"):
        async with services.add_scoped(Session, fails).build().handler_factory(_session_of).scope():
            pytest.fail("there is no handler")
    assert journal == ["enter async", "leave async"]


async def test_a_singleton_whose_factory_fails_closes_what_was_made_for_it() -> None:
    journal = Journal()

    def fails(entered: Entered) -> Session:
        raise ConnectionRefusedError("nobody listens")

    services = ServiceCollection().add_singleton(Journal, journal).add_transient(Entered)
    factory = services.add_singleton(Session, fails).build().handler_factory(_session_of)
    with pytest.raises(ConnectionRefusedError, match="nobody listens"):
        async with factory.scope():
            pytest.fail("there is no handler")
    await until(lambda: len(journal) == 2)
    assert journal == ["enter async", "leave async"]


async def test_an_object_that_was_registered_ready_made_is_never_closed() -> None:
    journal = Journal()
    provider = ServiceCollection().add_singleton(Entered, Entered(journal)).build()
    factory = provider.handler_factory(_hands_on)
    async with factory.scope():
        pass
    await provider.aclose()
    assert journal == []


def _hands_on(entered: Entered) -> Entered:
    return entered


async def test_a_service_that_is_handed_on_under_another_type_is_entered_and_left_once() -> None:
    journal = Journal()
    services = ServiceCollection().add_singleton(Journal, journal).add_scoped(Entered)
    services.add_scoped(Session, _hands_on)
    async with services.build().handler_factory(_session_of).scope() as handler:
        assert isinstance(handler, Entered)
    assert journal == ["enter async", "leave async"]


async def test_what_entering_gives_is_the_service() -> None:
    @asynccontextmanager
    async def transaction() -> AsyncGenerator[Session, None]:
        yield session

    session = Session()
    services = ServiceCollection().add_scoped(Session, giving(transaction))
    assert await made(services, _session_of) is session


async def test_a_closing_that_passes_the_exception_of_the_request_on_is_no_error_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class PassesOn:
        def __enter__(self) -> None: ...

        def __exit__(self, kind: object, error: BaseException, trace: object) -> None:
            raise error

    with pytest.raises(LookupError, match="of the handler"):
        async with (
            ServiceCollection()
            .add_scoped(Session, giving(PassesOn))
            .build()
            .handler_factory(_session_of)
            .scope()
        ):
            raise LookupError("of the handler")
    assert not caplog.records


async def test_types_that_do_not_tell_their_signature_are_made_and_closed() -> None:
    services = ServiceCollection().add_scoped(dict).add_scoped(mmap.mmap, lambda: mmap.mmap(-1, 8))

    def handler(table: dict, memory: mmap.mmap) -> tuple[object, mmap.mmap]:  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]  # the bare type is what is registered
        assert table == {}
        assert not memory.closed
        return table, memory  # pyright: ignore[reportUnknownVariableType]  # as above

    _, memory = await made(services, handler)
    assert memory.closed


@pytest.mark.parametrize("lock", [asyncio.Lock, asyncio.Condition, asyncio.Semaphore])
async def test_a_lock_is_not_taken_by_being_injected(lock: Callable[[], Any]) -> None:
    handler = await made(ServiceCollection().add_singleton(Session, giving(lock)), _session_of)
    assert not handler.locked()


async def test_a_close_that_needs_arguments_is_not_ours_to_call(caplog: pytest.LogCaptureFixture) -> None:
    class Door:
        def close(self, key: str) -> None:
            pytest.fail("nobody gave us a key")

    assert isinstance(await made(ServiceCollection().add_scoped(Session, giving(Door)), _session_of), Door)
    assert not caplog.records


# -- the handler without services


def test_a_handler_class_that_asks_for_nothing_is_its_own_factory() -> None:
    factory = ServiceCollection().add_singleton(Database).build().handler_factory(PlainHandler)
    assert factory.needs_scope is False
    assert factory.create is PlainHandler


def test_a_handler_that_asks_for_ready_objects_only_needs_no_scope() -> None:
    store = TicketStore(Database())
    factory = ServiceCollection().add_singleton(TicketStore, store).build().handler_factory(SupportHandler)
    assert factory.needs_scope is False
    assert factory.create() is not factory.create()
    assert factory.create().store is store


async def test_a_ready_handler_is_shared_and_never_closed() -> None:
    journal = Journal()
    handler = ClosingHandler(journal, AsyncGenerated())
    provider = ServiceCollection().build()
    factory = provider.handler_factory(handler)
    assert factory.needs_scope is False
    assert factory.create() is handler
    async with factory.scope() as same:
        assert same is handler
    await provider.aclose()
    assert journal == []


async def test_a_handler_registered_as_singleton_is_made_once() -> None:
    provider = ServiceCollection().add_singleton(PlainHandler).build()
    factory = provider.handler_factory(PlainHandler)
    assert factory.needs_scope
    async with factory.scope() as one, factory.scope() as other:
        assert one is other
    await provider.aclose()


async def test_a_handler_that_asks_for_nothing_but_has_something_to_close_is_closed() -> None:
    closed: list[object] = []

    class Handler:
        async def aclose(self) -> None:
            closed.append(self)

    factory = ServiceCollection().build().handler_factory(Handler)
    assert factory.needs_scope
    async with factory.scope() as handler:
        assert closed == []
    assert closed == [handler]


async def generates_handler(store: TicketStore) -> AsyncIterator[SupportHandler]:
    yield SupportHandler(store)


def hides_its_result(store: TicketStore) -> Decimal:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (SupportHandler, SupportHandler),
        (SupportHandler(TicketStore(Database())), SupportHandler),
        (make_handler, SupportHandler),
        (functools.partial(make_handler), SupportHandler),
        (generates_handler, SupportHandler),
        (lambda: PlainHandler(), None),  # noqa: PLW0108  # a lambda is the case under test
        (hides_its_result, None),
    ],
    ids=["class", "object", "function", "partial", "generator", "lambda", "hidden"],
)
def test_the_class_of_a_handler_is_told_without_making_one(handler: Any, expected: object) -> None:
    services = ServiceCollection().add_scoped(Database).add_scoped(TicketStore)
    assert services.build().handler_factory(handler).handler_type is expected


def test_the_class_of_a_registered_handler_is_told() -> None:
    services = ServiceCollection().add_scoped(PlainHandler, lambda: PlainHandler())  # noqa: PLW0108  # a lambda is the case under test
    assert services.build().handler_factory(PlainHandler).handler_type is PlainHandler


def test_create_refuses_when_a_scope_is_needed() -> None:
    factory = ServiceCollection().add_scoped(Session).build().handler_factory(_session_of)
    assert factory.needs_scope
    with pytest.raises(RuntimeError, match="_session_of needs a scope"):
        factory.create()


def test_services_load_nothing_but_the_standard_library() -> None:
    program = (
        "import sys, agentserver.errors; before = set(sys.modules)\n"
        "from agentserver._services.collection import ServiceCollection\n"
        "class Handler: pass\n"
        "assert ServiceCollection().build().handler_factory(Handler).create is Handler\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert set(done.stdout.split()) <= {"agentserver"}


# -- what is wrong is said at start-up


def test_a_missing_service_is_named_with_the_path_to_it() -> None:
    assert refusal(ServiceCollection().add_scoped(TicketStore), SupportHandler) == (
        "SupportHandler -> TicketStore -> Database: nobody registered Database;"
        " add builder.services.add_singleton(Database) (or add_scoped/add_transient)"
    )


def test_a_missing_service_of_a_handler_factory_is_named_with_the_factory() -> None:
    assert refusal(ServiceCollection(), make_handler).startswith(
        "make_handler -> TicketStore: nobody registered TicketStore"
    )


@pytest.mark.parametrize(
    ("wanted", "example"), [(Storage, "Storage, MyStorage"), (Greets, "Greets, MyGreets")]
)
def test_a_missing_abstract_service_is_shown_with_an_implementation(wanted: Any, example: str) -> None:
    def handler(service: object) -> object:
        return service

    handler.__annotations__["service"] = wanted
    assert f"add_singleton({example})" in refusal(ServiceCollection(), handler)


def test_a_plain_value_without_default_is_no_service() -> None:
    class Handler:
        def __init__(self, url: str) -> None: ...

    assert refusal(ServiceCollection(), Handler) == (
        "Handler -> str: str is no service that can be injected as url; give url a default,"
        " or register Handler with a factory that passes it"
    )


def test_an_optional_service_without_default_must_be_registered() -> None:
    class Handler:
        def __init__(self, database: Database | None) -> None: ...

    assert "give it a default" in refusal(ServiceCollection(), Handler)


async def test_an_optional_service_without_default_is_injected() -> None:
    class Handler:
        def __init__(self, database: Database | None) -> None:
            self.database = database

    assert isinstance((await made(ServiceCollection().add_scoped(Database), Handler)).database, Database)


class Hen:
    def __init__(self, egg: Egg) -> None: ...


class Egg:
    def __init__(self, hen: Hen) -> None: ...


class Farm:
    def __init__(self, hen: Hen) -> None: ...


def test_a_circle_is_drawn() -> None:
    assert refusal(ServiceCollection().add_scoped(Hen).add_transient(Egg), Farm) == (
        "Farm -> Hen -> Egg -> Hen: this is a circle, and none of them can be made first;"
        " let one of them do without another"
    )


class Cache:
    def __init__(self, mapper: Mapper) -> None: ...


class Mapper:
    def __init__(self, session: Session) -> None: ...


class CachingHandler:
    def __init__(self, mapper: Mapper, cache: Cache) -> None: ...


def test_a_singleton_that_asks_for_a_scoped_service_is_refused_even_through_a_transient() -> None:
    services = ServiceCollection().add_singleton(Cache).add_transient(Mapper).add_scoped(Session)
    assert refusal(services, CachingHandler) == (
        "CachingHandler -> Cache -> Mapper -> Session: the singleton Cache would keep the scoped Session"
        " beyond its request; make Cache scoped, or Session a singleton"
    )


async def test_a_transient_that_asks_for_a_scoped_service_is_fine_in_a_request() -> None:
    services = ServiceCollection().add_scoped(Cache).add_transient(Mapper).add_scoped(Session)
    assert isinstance(await made(services, CachingHandler), CachingHandler)


def test_a_parameter_without_annotation_is_refused() -> None:
    class Handler:
        def __init__(self, store) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001  # pyright: ignore[reportMissingParameterType]  # the case under test

    assert refusal(ServiceCollection(), Handler) == (
        "Handler: the parameter store of Handler has no type annotation;"
        " write store: TheServiceItNeeds, or give it a default"
    )


unannotated: Callable[[Any], object] = lambda database: (database, "store")  # noqa: E731  # the case under test


def test_a_lambda_with_a_parameter_is_refused_with_the_way_out() -> None:
    services = ServiceCollection().add_scoped(TicketStore, unannotated)
    assert refusal(services, SupportHandler) == (
        "SupportHandler -> TicketStore: a lambda cannot say what type its parameter database has;"
        " write a def with annotations"
    )


class Pricing:
    def __init__(self, price: Decimal) -> None: ...


def test_an_annotation_that_cannot_be_resolved_is_refused() -> None:
    sentence = refusal(ServiceCollection(), Pricing)
    assert sentence.startswith("Pricing: the annotation 'price: Decimal' of Pricing cannot be resolved")
    assert "name 'Decimal' is not defined" in sentence
    assert "TYPE_CHECKING" in sentence


class Late:
    """Fails to tell its signature as Python 3.14 does when an annotation names what is not there."""

    def __get__(self, *_: object) -> object:
        raise NameError("name 'Decimal' is not defined")


class LatePricing:
    __signature__ = Late()


def test_a_signature_that_cannot_be_resolved_is_refused() -> None:
    sentence = refusal(ServiceCollection(), LatePricing)
    assert sentence.startswith("LatePricing: the annotation")
    assert "name 'Decimal' is not defined" in sentence


def makes_with_hidden_result(clock: Clock) -> Decimal:
    raise NotImplementedError


def test_an_annotation_that_nobody_needs_may_stay_unresolved() -> None:
    ServiceCollection().add_singleton(Clock).build().handler_factory(makes_with_hidden_result)


def test_a_provider_goes_on_after_a_refusal() -> None:
    provider = ServiceCollection().build().handler_factory
    with pytest.raises(ServiceError):
        provider(SupportHandler)
    with pytest.raises(ServiceError, match=r"^TicketStore -> Database: nobody"):
        provider(TicketStore)


@pytest.mark.parametrize(
    ("lifetime", "arguments", "sentence"),
    [
        ("singleton", (Storage,), "add_singleton(Storage): Storage is abstract"),
        ("scoped", (Greets,), "add_scoped(Greets): Greets is abstract"),
        ("scoped", (Storage, Clock), "Clock is not a subclass of Storage"),
        ("singleton", (Storage, 5), "the object is a int, not a Storage"),
        ("scoped", (Clock, Clock()), "only add_singleton takes a ready object"),
        ("transient", (Clock, 5), "a int cannot make anything"),
        ("singleton", (Database(),), "a service is registered by its type"),
        ("singleton", (make_store,), "a service is registered by its type, not by <function make_store"),
        ("singleton", ("Database",), "a service is registered by its type, not by 'Database'"),
    ],
)
def test_a_registration_that_cannot_work_is_refused_at_once(
    lifetime: str, arguments: tuple[Any, ...], sentence: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        getattr(ServiceCollection(), f"add_{lifetime}")(*arguments)
    assert sentence in str(caught.value)


def test_every_add_returns_the_collection() -> None:
    services = ServiceCollection()
    adds: list[Callable[..., object]] = [services.add_singleton, services.add_scoped, services.add_transient]
    assert all(add(Clock) is services for add in adds)
    assert services.add_singleton(Clock, Clock()) is services
