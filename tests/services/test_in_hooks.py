"""Health checks and hooks are given services by type, and singletons may be made when the host starts."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    AgentHostBuilder,
    InvocationContext,
    InvocationHandler,
    ServiceCollection,
    map_invocations_server,
)
from agentserver.errors import ServiceError, StartupError
from agentserver.testing import in_process


class Handler(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return "answer"


class Database:
    def __init__(self) -> None:
        self.calls: list[str] = []

    async def ping(self) -> None:
        self.calls.append("ping")


class Session:
    def __init__(self, database: Database) -> None:
        self.database = database

    async def aclose(self) -> None:
        self.database.calls.append("session closed")


async def check_database(session: Session) -> bool:
    await session.database.ping()
    return True


class Ping:
    async def __call__(self, session: Session, unused: float = 1.5) -> bool:
        return await check_database(session)


class Checks:
    async def ping(self, session: Session) -> bool:
        return await check_database(session)


async def check_with(_word: str, session: Session) -> bool:
    return await check_database(session)


@pytest.mark.parametrize(
    "check",
    [check_database, Ping(), Checks().ping, functools.partial(check_with, "word")],
    ids=["function", "object", "method", "partial"],
)
async def test_a_check_takes_services_and_each_run_has_a_scope_of_its_own(check: Any) -> None:
    database = Database()

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(Database, database).add_scoped(Session)
        builder.configure_health(lambda health: health.add_check("database", check))

    async with in_process(Handler, configure) as agent:
        for _ in range(2):
            async with agent.http.get("/readiness") as response:
                assert response.status == 200
    assert database.calls == ["ping", "session closed"] * 2


async def test_a_check_whose_service_cannot_be_made_fails_and_serving_goes_on() -> None:
    async def refuse() -> Database:
        raise ConnectionRefusedError("nobody listens")

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(Database, refuse).add_scoped(Session)
        builder.configure_health(lambda health: health.add_check("database", check_database))

    async with in_process(Handler, configure) as agent:
        async with agent.http.get("/readiness") as response:
            assert response.status == 503
            assert (await response.json())["failed"] == ["database"]
        assert (await agent.client.invoke("x")).text == "answer"


async def test_hooks_take_services_by_type_scoped_ones_for_the_time_of_the_call() -> None:
    database = Database()

    def begin(session: Session) -> None:
        session.database.calls.append("begin")

    async def end(session: Session, database: Database) -> None:
        assert session.database is database
        database.calls.append("end")

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(Database, database).add_scoped(Session)
        builder.on_startup(begin).configure_shutdown(hook=end)

    async with in_process(Handler, configure):
        assert database.calls == ["begin", "session closed"]
    assert database.calls == ["begin", "session closed", "end", "session closed"]


async def test_a_shutdown_hook_still_finds_its_singletons_open() -> None:
    calls: list[str] = []

    async def connect() -> AsyncIterator[Database]:
        yield Database()
        calls.append("disconnect")

    def end(database: Database) -> None:
        calls.append("end")

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(Database, connect)
        builder.configure_shutdown(hook=end)

    async with in_process(Handler, configure):
        pass
    assert calls == ["end", "disconnect"]


async def test_a_start_up_hook_that_raises_sees_its_services_ended_and_is_named() -> None:
    calls: list[object] = []

    async def session() -> AsyncIterator[Session]:
        try:
            yield Session(Database())
        except LookupError as error:
            calls.append(error)
            raise

    async def begin(_session: Session) -> None:
        raise LookupError("no such table")

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_scoped(Session, session)
        builder.on_startup(begin)

    with pytest.raises(StartupError, match=r"the start-up hook begin failed: LookupError: no such table"):
        async with in_process(Handler, configure):
            pytest.fail("it started")
    assert [str(error) for error in calls] == ["no such table"]


async def needs_context(context: InvocationContext) -> bool:
    return True


class KeepsContext:
    def __init__(self, context: InvocationContext) -> None: ...


async def needs_it_below(session: KeepsContext) -> bool:
    return True


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (
            check_database,
            "{} -> Session: nobody registered Session; add builder.services.add_singleton(Session)"
            " (or add_scoped/add_transient)",
        ),
        (
            needs_it_below,
            "{} -> KeepsContext -> InvocationContext: there is no InvocationContext outside of a request;"
            " only handlers and what is made for them can ask for it",
        ),
        (
            needs_context,
            "{} -> InvocationContext: there is no InvocationContext outside of a request;"
            " only handlers and what is made for them can ask for it",
        ),
    ],
)
@pytest.mark.parametrize("place", ["check", "start-up hook", "shutdown hook"])
async def test_what_a_check_or_hook_cannot_be_given_is_said_when_the_host_is_built(
    place: str, function: Callable[..., Any], sentence: str
) -> None:
    builder = AgentHostBuilder().add_invocations(Handler)
    builder.services.add_scoped(KeepsContext)
    if place == "check":
        builder.configure_health(lambda health: health.add_check("db", function))
        name = "health check 'db'"
    else:
        name = f"the {place} {function.__name__}"
        _ = builder.on_startup(function) if "start" in place else builder.configure_shutdown(hook=function)
    with pytest.raises(ServiceError) as caught:
        builder.build()
    assert str(caught.value) == sentence.format(name)


async def test_a_hook_that_asks_for_something_is_refused_even_without_any_service() -> None:
    builder = AgentHostBuilder().add_invocations(Handler).on_startup(check_database)
    with pytest.raises(ServiceError, match="nobody registered Session"):
        builder.build()


# -- eager singletons


async def test_an_eager_singleton_is_made_before_the_hooks_and_a_lazy_one_at_first_use() -> None:
    calls: list[str] = []

    async def connect() -> Database:
        calls.append("connect")
        return Database()

    def session(_database: Database) -> Session:
        calls.append("never")
        return Session(_database)

    def configure(builder: AgentHostBuilder) -> None:
        builder.on_startup(lambda: calls.append("hook"))
        builder.services.add_singleton(Database, connect, eager=True).add_singleton(Session, session)

    async with in_process(Handler, configure) as agent:
        assert calls == ["connect", "hook"]
        await agent.client.invoke("x")
    assert calls == ["connect", "hook"]


async def refuse_connection() -> Database:
    raise ConnectionRefusedError("nobody\nlistens")


async def test_an_eager_singleton_that_cannot_be_made_ends_the_start_with_one_sentence() -> None:
    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(Database, refuse_connection, eager=True)

    with pytest.raises(StartupError) as caught:
        async with in_process(Handler, configure):
            pytest.fail("it started")
    assert str(caught.value) == (
        "making the singleton Database failed: ConnectionRefusedError: nobody listens"
        " (AGENTSERVER_LOG_LEVEL=DEBUG shows where)"
    )


async def test_an_eager_singleton_nobody_asks_for_is_checked_when_the_host_is_built() -> None:
    builder = AgentHostBuilder().add_invocations(Handler)
    builder.services.add_singleton(Session, eager=True)
    with pytest.raises(ServiceError, match="Session -> Database: nobody registered Database"):
        builder.build()


async def test_an_eager_singleton_is_made_in_an_application_of_ones_own_too() -> None:
    for factory, expected in ((Database, None), (refuse_connection, "making the singleton Database failed")):
        app = web.Application()
        services = ServiceCollection().add_singleton(Database, factory, eager=True)
        map_invocations_server(app, Handler, services=services)
        runner = web.AppRunner(app)
        try:
            if expected is None:
                await runner.setup()
            else:
                with pytest.raises(StartupError, match=expected):
                    await runner.setup()
        finally:
            await runner.cleanup()


async def test_a_singleton_whose_factory_leaves_the_process_fails_its_request_only() -> None:
    def leave() -> Database:
        raise SystemExit(3)

    class Asks(Handler):
        def __init__(self, database: Database) -> None: ...

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(Database, leave)

    async with in_process(Asks, configure) as agent, agent.http.post("/invocations") as response:
        assert response.status == 500
