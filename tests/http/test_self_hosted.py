"""The agent inside somebody's own aiohttp application, which stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from agentserver import (
    AgentHostOptions,
    FoundryEnvironment,
    InvocationContext,
    InvocationHandler,
    ServiceCollection,
    map_invocations_server,
)
from agentserver._hosting.health import HealthChecks
from agentserver.errors import ConfigurationError, HandlerError, ServiceError
from tests.http.raw import ask, connected, get, post
from tests.servers import serving

ENVIRONMENT = FoundryEnvironment()
OURS = {"x-request-id", "x-platform-server", "x-agent-invocation-id", "x-agent-session-id"}


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        body = await request.read()
        if body == b"fail":
            raise RuntimeError("secret")
        return body

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return {"id": invocation_id}


class Store:
    def __init__(self, events: list[str]) -> None:
        self.events = events

    async def aclose(self) -> None:
        self.events.append("closed")


class Storing(InvocationHandler):
    def __init__(self, store: Store) -> None:
        self.store = store

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        self.store.events.append(context.session_id)
        return "stored"


@asynccontextmanager
async def hosting(app: web.Application, **options: Any) -> AsyncGenerator[aiohttp.ClientSession, None]:
    """A client of *app*, run as its owner would."""
    runner = web.AppRunner(app, **options)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await runner.cleanup()


def mapped(app: web.Application | None = None, handler: Any = Echo, **options: Any) -> web.Application:
    app = web.Application() if app is None else app
    map_invocations_server(app, handler, environment=ENVIRONMENT, **options)
    return app


@pytest.mark.parametrize("prefix", ["", "/v1", "v1", "/v1/", "/a/b"])
async def test_the_agents_routes_have_the_contracts_headers_and_errors(prefix: str) -> None:
    path = "/" + prefix.strip("/") if prefix else ""
    async with hosting(mapped(prefix=prefix)) as client:
        answer = await ask(client, post(b"hello", "x-agent-invocation-id: inv-1", path=f"{path}/invocations"))
        assert (answer.status, answer.body) == (200, b"hello")
        assert {name.lower() for name in answer.headers} >= OURS
        assert answer.headers["x-agent-invocation-id"] == "inv-1"
        answer = await ask(client, post(b"fail", path=f"{path}/invocations/"))
        assert answer.error == (500, "internal_error", "upstream")
        assert b"secret" not in answer.body
        answer = await ask(client, get(f"{path}/invocations/inv-7"))
        assert answer.body == b'{"id":"inv-7"}'
        answer = await ask(client, get(f"{path}/invocations"))
        assert answer.error == (405, "method_not_allowed", "user")
        answer = await ask(client, get(f"{path}/invocations/docs/openapi.json"))
        assert answer.error == (404, "not_found", "upstream")
        assert (await ask(client, get("/readiness"))).body == b'{"status":"healthy"}'
        assert (await ask(client, get("/readiness/", method="HEAD"), head=True)).status == 200


async def test_the_applications_own_routes_errors_and_middlewares_stay_as_they_are() -> None:
    @web.middleware
    async def mark(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPNotFound:
            response = web.Response(status=404, text="my own 404")
        response.headers["x-mine"] = request.path
        return response

    async def index(_request: web.Request) -> web.Response:
        return web.Response(text="mine")

    app = web.Application(middlewares=[mark])
    app.router.add_get("/", index)
    mapped(app, prefix="/v1")
    async with hosting(app) as client:
        for path, status, body in (("/", 200, b"mine"), ("/nope", 404, b"my own 404")):
            answer = await ask(client, get(path))
            assert (answer.status, answer.body, answer.headers["x-mine"]) == (status, body, path)
            assert not OURS & {name.lower() for name in answer.headers}
        answer = await ask(client, post(b"fail", path="/v1/invocations"))
        assert answer.error == (500, "internal_error", "upstream")
        assert answer.headers["x-mine"] == "/v1/invocations"


async def test_it_serves_inside_a_sub_application_too() -> None:
    app = web.Application()
    app.add_subapp("/agents/bee", mapped(prefix="/v1", readiness=False))
    async with hosting(app) as client:
        answer = await ask(client, post(b"buzz", path="/agents/bee/v1/invocations"))
        assert (answer.status, answer.body) == (200, b"buzz")
        assert {name.lower() for name in answer.headers} >= OURS
        answer = await ask(client, get("/agents/bee/v1/invocations/inv-1"))
        assert answer.body == b'{"id":"inv-1"}'
        assert (await ask(client, post(path="/v1/invocations"))).status == 404


async def test_two_agents_in_one_application_do_not_mix() -> None:
    class Other(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return "other"

    app = mapped(prefix="/a", options=AgentHostOptions(server_segments=("first/1",)))
    mapped(app, Other, prefix="/b", readiness=False, options=AgentHostOptions(server_segments=("second/2",)))
    async with hosting(app) as client:
        first = await ask(client, post(b"x", path="/a/invocations"))
        second = await ask(client, post(b"x", path="/b/invocations"))
    assert (first.body, second.body) == (b"x", b"other")
    assert first.headers["x-platform-server"].endswith("first/1")
    assert second.headers["x-platform-server"].endswith("second/2")


async def test_routes_that_are_taken_are_refused_in_one_sentence() -> None:
    app = mapped(prefix="/v1")
    with pytest.raises(ConfigurationError, match=r"^/readiness is served already: .*readiness=False"):
        mapped(app, prefix="/v2")
    with pytest.raises(ConfigurationError, match=r"^/v1/invocations is served already: .*prefix"):
        mapped(app, prefix="/v1", readiness=False)


async def test_what_cannot_serve_is_refused_when_it_is_mapped() -> None:
    class Needy(Echo):
        def __init__(self, store: ServiceCollection) -> None: ...

    class Sync(Echo):
        def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return "sync"

    with pytest.raises(HandlerError, match="async def handle"):
        mapped(handler=Sync)
    with pytest.raises(ServiceError, match="Needy"):
        mapped(handler=Needy)


async def test_bodies_over_the_frameworks_limit_are_413_and_not_over_the_applications() -> None:
    app = mapped(options=AgentHostOptions(max_body_size=2_000_000))
    async with hosting(app) as client:
        assert len((await ask(client, post(b"x" * 2_000_000))).body) == 2_000_000
        assert (await ask(client, post(b"x" * 2_000_001))).error == (413, "payload_too_large", "user")
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = (b"186a0\r\n" + b"x" * 100_000 + b"\r\n") * 21 + b"0\r\n\r\n"
        assert (await ask(client, head, chunks)).error == (413, "payload_too_large", "user")


async def test_a_client_that_waits_for_100_continue_is_told_once() -> None:
    async with hosting(mapped()) as client, connected(client) as connection:
        connection.send(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert (await connection.answer()).status == 100
        connection.send(b"ok")
        assert (await connection.answer()).body == b"ok"


async def test_services_and_the_environment_are_those_given_and_closed_with_the_application() -> None:
    events: list[str] = []
    app = web.Application()
    map_invocations_server(
        app,
        Storing,
        environment=FoundryEnvironment(session_id="from-env"),
        services=ServiceCollection().add_singleton(Store, lambda: Store(events)),
    )
    async with hosting(app) as client:
        assert (await ask(client, post())).headers["x-agent-session-id"] == "from-env"
        assert events == ["from-env"]
    assert events == ["from-env", "closed"]


async def test_the_applications_end_is_seen_by_handlers_and_readiness() -> None:
    class Waiting(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            started.set()
            await context.shutting_down.wait()
            return "wound down"

    started = asyncio.Event()
    runner = web.AppRunner(mapped(handler=Waiting))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        async with connected(client) as connection:
            connection.send(post())
            await asyncio.wait_for(started.wait(), 10)
            ending = asyncio.create_task(runner.cleanup())
            assert (await connection.answer()).body == b"wound down"
    await asyncio.wait_for(ending, 20)


async def test_a_handler_finds_the_application_in_its_request() -> None:
    key = web.AppKey("greeting", str)

    class Greeting(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return request.app[key]

    app = mapped(handler=Greeting)
    app[key] = "hello from the application"
    async with hosting(app) as client:
        assert (await ask(client, post())).body == b"hello from the application"

    def configure(builder: Any) -> None:
        builder.app[key] = "hello from the builder"

    async with serving(Greeting, configure) as client:
        assert (await ask(client, post())).body == b"hello from the builder"


async def test_readiness_of_an_application_may_have_checks() -> None:
    async def ping() -> bool:
        return False

    def checks(health: HealthChecks) -> None:
        health.add_check("store", ping)

    app = mapped(configure_health=checks)
    async with hosting(app) as client, client.get("/readiness") as response:
        body = await response.json()
        assert (response.status, body["failed"]) == (503, ["store"])
