"""Errors while ending or making, and what is not ended at all."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentserver._services.collection import ServiceCollection
from tests.services.things import Entered, Journal, Session, giving, made, session_of, until


async def test_an_error_while_closing_is_the_requests_once_the_rest_is_closed() -> None:
    journal = Journal()

    async def session(entered: Entered) -> AsyncIterator[Session]:
        yield Session()
        raise OSError("the disk is full")

    services = ServiceCollection().add_singleton(Journal, journal).add_scoped(Entered)
    factory = services.add_scoped(Session, session).build().handler_factory(session_of)
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
        async with services.build().handler_factory(session_of).scope():
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
    async with provider.handler_factory(session_of).scope():
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
        async with services.add_scoped(Session, fails).build().handler_factory(session_of).scope():
            pytest.fail("there is no handler")
    assert journal == ["enter async", "leave async"]


async def test_a_singleton_whose_factory_fails_closes_what_was_made_for_it() -> None:
    journal = Journal()

    def fails(entered: Entered) -> Session:
        raise ConnectionRefusedError("nobody listens")

    services = ServiceCollection().add_singleton(Journal, journal).add_transient(Entered)
    factory = services.add_singleton(Session, fails).build().handler_factory(session_of)
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


def _hands_on(entered: Entered) -> Any:
    return entered


async def test_a_service_that_is_handed_on_under_another_type_is_entered_and_left_once() -> None:
    journal = Journal()
    services = ServiceCollection().add_singleton(Journal, journal).add_scoped(Entered)
    services.add_scoped(Session, _hands_on)
    async with services.build().handler_factory(session_of).scope() as handler:
        assert isinstance(handler, Entered)
    assert journal == ["enter async", "leave async"]


async def test_what_entering_gives_is_the_service() -> None:
    @asynccontextmanager
    async def transaction() -> AsyncGenerator[Session, None]:
        yield session

    session = Session()
    services = ServiceCollection().add_scoped(Session, giving(transaction))
    assert await made(services, session_of) is session


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
            .handler_factory(session_of)
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
    handler = await made(ServiceCollection().add_singleton(Session, giving(lock)), session_of)
    assert not handler.locked()


async def test_a_close_that_needs_arguments_is_not_ours_to_call(caplog: pytest.LogCaptureFixture) -> None:
    class Door:
        def close(self, key: str) -> None:
            pytest.fail("nobody gave us a key")

    assert isinstance(await made(ServiceCollection().add_scoped(Session, giving(Door)), session_of), Door)
    assert not caplog.records
