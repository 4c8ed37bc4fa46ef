"""Services, handlers and factories that several tests are about."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from agentserver._services.collection import ServiceCollection
from agentserver.errors import ServiceError


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


class Storage(ABC):
    @abstractmethod
    def load(self) -> str: ...


class Greets(Protocol):
    def greet(self) -> str: ...


async def make_store(database: Database) -> TicketStore:
    await asyncio.sleep(0)
    return TicketStore(database)


def make_handler(store: TicketStore) -> SupportHandler:
    return SupportHandler(store)


class Pair:
    def __init__(self, one: Session, other: Session, database: Database) -> None:
        self.one, self.other, self.database = one, other, database


async def database_of(factory: Any) -> object:
    async with factory.scope() as handler:
        return handler.store.database


class Entered:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def __aenter__(self) -> Entered:
        self.journal.append("enter async")
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.journal.append("leave async")


class AsyncGenerated:
    pass


class ClosingHandler:
    def __init__(self, journal: Journal, last: AsyncGenerated) -> None:
        self.journal = journal

    async def close(self) -> None:
        self.journal.append("handler close")


def session_of(session: Session) -> Session:
    return session
