"""The handler without services, and what is told of it without making one."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from agentserver._services.collection import ServiceCollection
from tests.services.things import (
    AsyncGenerated,
    ClosingHandler,
    Database,
    Journal,
    PlainHandler,
    Session,
    SupportHandler,
    TicketStore,
    make_handler,
    session_of,
)

if TYPE_CHECKING:
    from decimal import Decimal


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
    factory = ServiceCollection().add_scoped(Session).build().handler_factory(session_of)
    assert factory.needs_scope
    with pytest.raises(RuntimeError, match="session_of needs a scope"):
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
