"""How long a service lives, and who shares it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator

import pytest

from agentserver._services.collection import ServiceCollection
from tests.services.things import (
    Database,
    Pair,
    Session,
    SupportHandler,
    TicketStore,
    database_of,
    giving,
    until,
)


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
    requests = [asyncio.create_task(database_of(factory)) for _ in range(20)]
    await until(lambda: bool(calls))
    go.set()
    assert len({id(one) for one in await asyncio.gather(*requests)}) == 1
    assert calls == [1]


async def test_a_singleton_outlives_the_cancelled_request_that_asked_first() -> None:
    calls: list[int] = []
    go = asyncio.Event()

    async def connect() -> Database:
        calls.append(1)
        await go.wait()
        return Database()

    services = ServiceCollection().add_singleton(Database, connect).add_transient(TicketStore)
    factory = services.build().handler_factory(SupportHandler)
    first, second = (asyncio.create_task(database_of(factory)) for _ in range(2))
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
        await database_of(factory)
    assert isinstance(await database_of(factory), Database)


async def test_a_singleton_does_not_take_the_context_of_the_request_that_asks_first() -> None:
    request_id = contextvars.ContextVar("request_id", default="none")
    seen: list[str] = []
    services = ServiceCollection().add_singleton(Database, giving(lambda: seen.append(request_id.get())))
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
