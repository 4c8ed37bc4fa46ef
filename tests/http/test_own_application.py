"""``builder.app``: routes, middlewares and signals of one's own on a host, under the host's contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from agentserver.errors import ConfigurationError
from tests.http.raw import ask, get, post
from tests.servers import serving


class Agent(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        body = await request.read()
        if body == b"fail":
            raise RuntimeError("secret")
        if body == b"stream":
            return self.words()
        return body

    async def words(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"


def app_with(
    *middlewares: Any, routes: list[web.RouteDef] | None = None
) -> Callable[[AgentHostBuilder], object]:
    def configure(builder: AgentHostBuilder) -> None:
        builder.app.middlewares.extend(middlewares)
        builder.app.add_routes(routes or [])

    return configure


async def test_a_middleware_sees_every_request_and_its_headers_go_out_with_ours() -> None:
    seen: list[str] = []

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append(f"{request.method} {request.path}")
        response = await handler(request)
        if not response.prepared:
            response.headers["x-mine"] = "yes"
            response.headers["x-request-id"] = "forged"
        return response

    async with serving(Agent, app_with(watch)) as client:
        answer = await ask(client, post(b"hello", "x-request-id: real"))
        assert (answer.body, answer.headers["x-mine"]) == (b"hello", "yes")
        assert answer.headers["x-request-id"] == "real"
        assert "x-agent-invocation-id" in answer.headers
        assert (await ask(client, post(b"stream"))).body == b"ab"
        assert (await ask(client, get("/readiness"))).headers["x-mine"] == "yes"
    assert seen == ["POST /invocations", "POST /invocations", "GET /readiness"]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("secret"), (500, "internal_error", "upstream")),
        (web.HTTPUnauthorized(text="sign in first"), (401, "unauthorized", "user")),
    ],
)
async def test_what_a_middleware_raises_becomes_the_envelope(
    raised: Exception, expected: tuple[int, str, str]
) -> None:
    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise raised

    async with serving(Agent, app_with(refuse)) as client:
        answer = await ask(client, post(b"hello"))
        assert answer.error == expected
        assert b"secret" not in answer.body


async def test_what_a_middleware_answers_itself_is_passed_on_untouched() -> None:
    @web.middleware
    async def answer_itself(request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(status=402, text="pay first", headers={"x-price": "1"})

    async with serving(Agent, app_with(answer_itself)) as client:
        answer = await ask(client, post(b"hello"))
    assert (answer.status, answer.body, answer.headers["x-price"]) == (402, b"pay first", "1")
    assert "x-platform-error-source" not in answer.headers
    assert "x-request-id" in answer.headers


async def test_a_middleware_sees_the_exception_of_the_handler() -> None:
    seen: list[type[BaseException]] = []

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:
            seen.append(type(error))
            raise

    async with serving(Agent, app_with(watch)) as client:
        assert (await ask(client, post(b"fail"))).error == (500, "internal_error", "upstream")
    assert seen == [RuntimeError]


async def test_a_route_of_ones_own_is_served_with_the_hosts_headers_and_errors() -> None:
    async def greet(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.match_info['name']}")

    async def fail(_request: web.Request) -> web.Response:
        raise RuntimeError("secret")

    routes = [web.get("/greet/{name}", greet), web.get("/fail", fail)]
    async with serving(Agent, app_with(routes=routes)) as client:
        answer = await ask(client, get("/greet/bee"))
        assert (answer.status, answer.body) == (200, b"hello bee")
        assert {"x-request-id", "x-platform-server"} <= {name.lower() for name in answer.headers}
        answer = await ask(client, get("/greet/bee", method="HEAD"), head=True)
        assert (answer.status, answer.headers["Content-Length"]) == (200, "9")
        assert (await ask(client, get("/fail"))).error == (500, "internal_error", "upstream")
        assert (await ask(client, get("/nope"))).error == (404, "not_found", "user")
        answer = await ask(client, post(path="/greet/bee"))
        assert answer.error == (405, "method_not_allowed", "user")
        assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_the_protocols_routes_answer_alike_with_and_without_an_application() -> None:
    requests = [
        get("/readiness"),
        get("/invocations"),
        get("/invocations/x/"),
        get("/invocations/docs/openapi.json"),
        get("/invocations/docs/asyncapi.yaml", method="DELETE"),
        get("/invocations/a%2Fb"),
        get("/invocations/a%3Ab"),
        get("/invocations//cancel"),
        get("/invocations/..%2freadiness"),
        get("/nope"),
        post(b"x", path="/invocations/"),
        post(b"fail"),
        post(b"stream"),
    ]
    varying = {"x-request-id", "x-agent-session-id", "x-agent-invocation-id", "date"}
    async with serving(Agent) as plain, serving(Agent, app_with()) as with_app:
        for request in requests:
            one, other = await ask(plain, request), await ask(with_app, request)
            assert (one.status, one.body.lower()) == (other.status, other.body.lower()), request
            assert {name.lower() for name in one.headers} == {name.lower() for name in other.headers}, request
            for name, value in one.headers.items():
                assert name.lower() in varying or other.headers[name] == value, request


async def test_the_applications_life_is_the_hosts() -> None:
    events: list[str] = []

    async def life(_app: web.Application) -> AsyncIterator[None]:
        events.append("started")
        yield
        events.append("cleaned up")

    async def at_shutdown(_app: web.Application) -> None:
        events.append("shut down")

    def configure(builder: AgentHostBuilder) -> None:
        builder.app.cleanup_ctx.append(life)
        builder.app.on_shutdown.append(at_shutdown)

    async with serving(Agent, configure):
        assert events == ["started"]
    assert events == ["started", "shut down", "cleaned up"]


async def test_a_limit_that_is_set_after_the_application_was_asked_for_holds_all_the_same() -> None:
    def configure(builder: AgentHostBuilder) -> None:
        assert builder.app is not None
        builder.configure(max_body_size=2_000_000)

    async with serving(Agent, configure) as client:
        assert len((await ask(client, post(b"x" * 2_000_000))).body) == 2_000_000
        assert (await ask(client, post(b"x" * 2_000_001))).error == (413, "payload_too_large", "user")


async def test_a_route_of_ones_own_where_the_host_serves_is_refused() -> None:
    async def mine(_request: web.Request) -> web.Response:
        return web.Response()

    with pytest.raises(ConfigurationError, match=r"^/readiness is served already: remove that route"):
        async with serving(Agent, app_with(routes=[web.get("/readiness", mine)])):
            pass


async def test_a_handler_that_asks_for_an_application_there_is_not_is_told_how_to_have_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Asking(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return str(request.app)

    async with serving(Asking) as client:
        assert (await ask(client, post())).error == (500, "internal_error", "upstream")
    assert "builder.app" in caplog.text
