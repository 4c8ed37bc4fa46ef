"""What was made is ended in reverse, whatever ends the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from agentserver._services.collection import ServiceCollection
from tests.services.things import (
    AsyncGenerated,
    ClosingHandler,
    Database,
    Entered,
    Journal,
    Pair,
    Session,
    database_of,
    giving,
    session_of,
    until,
)


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


def generated(journal: Journal, before: Closed) -> Iterator[Generated]:
    journal.append("before yield")
    yield Generated()
    journal.append("after yield")


async def async_generated(journal: Journal, before: Generated) -> AsyncIterator[AsyncGenerated]:
    journal.append("before async yield")
    yield AsyncGenerated()
    journal.append("after async yield")


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
    request = asyncio.create_task(database_of(provider.handler_factory(_holds)))
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

    def slow(entered: Entered) -> Any:
        return Slow()

    services = ServiceCollection().add_singleton(Journal, journal).add_scoped(Entered)
    factory = services.add_scoped(Session, slow).build().handler_factory(session_of)

    async def request() -> None:
        async with factory.scope():
            pass

    task = asyncio.create_task(request())
    await closing.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert journal == ["enter async", "leave async"]
