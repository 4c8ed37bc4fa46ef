"""What is injected, by which annotation, from which kind of factory."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, NewType, Optional, TypeVar

import pytest

from agentserver._services.collection import ServiceCollection
from tests.services.things import (
    Clock,
    Database,
    Greets,
    Session,
    Storage,
    SupportHandler,
    TicketStore,
    giving,
    made,
    make_handler,
    make_store,
)

T = TypeVar("T")


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


class Files(Storage):
    def load(self) -> str:
        return "files"


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

    factory = (
        ServiceCollection().add_singleton(Database, giving(no_database)).build().handler_factory(TicketStore)
    )
    for _ in range(2):
        async with factory.scope() as store:
            assert store.database is None
    assert calls == [1]
