"""What is wrong with registrations is said at start-up, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from agentserver._services.collection import ServiceCollection
from agentserver.errors import ServiceError
from tests.services.things import (
    Clock,
    Database,
    Greets,
    Session,
    Storage,
    SupportHandler,
    TicketStore,
    made,
    make_handler,
    make_store,
    refusal,
)

if TYPE_CHECKING:
    from decimal import Decimal


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


unannotated: Callable[[Any], Any] = lambda database: (database, "store")  # noqa: E731  # the case under test


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
        ("singleton", (Storage, 5), "the object is of the type int, not Storage"),
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
