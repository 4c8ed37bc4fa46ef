"""Responses that fail on the way back: a whole 500 or a cut connection, never half of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from tests.http.raw import Answer, ask, connected, get, post
from tests.servers import serving

INTERNAL = (500, "internal_error", "upstream")


class Work:
    """A scoped service with an end."""

    async def aclose(self) -> None:
        return


class Scoped(InvocationHandler):
    """Answers what the test made, with a service that lives as long as the request."""

    make: Callable[[web.Request], Any]

    def __init__(self, work: Work) -> None:
        self.work = work

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await made(type(self).make, request)


class Plain(InvocationHandler):
    """Answers what the test made."""

    make: Callable[[web.Request], Any]

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await made(type(self).make, request)


async def made(make: Callable[[web.Request], Any], request: web.Request) -> Any:
    result = make(request)
    return await result if asyncio.iscoroutine(result) else result


def scoped(builder: AgentHostBuilder) -> None:
    builder.services.add_scoped(Work)


def with_app(builder: AgentHostBuilder) -> None:
    assert builder.app is not None


WAYS = [(Plain, None), (Scoped, scoped), (Plain, with_app)]
every_way = pytest.mark.parametrize(("handler", "configure"), WAYS, ids=["plain", "scoped", "app"])


def answering(handler: Any, make: Callable[[web.Request], Any]) -> Any:
    return type("Answering", (handler,), {"make": staticmethod(make)})


async def answers(
    handler: Any, configure: Any, make: Callable[[web.Request], Any], *requests: bytes
) -> list[Answer]:
    """What a handler that *make*s its result answers on one connection."""
    async with serving(answering(handler, make), configure) as client, connected(client) as connection:
        found: list[Answer] = []
        for request in requests or (post(),):
            connection.send(request)
            found.append(await connection.answer())
        return found


def status_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records if record.name == "agentserver.requests"]
    return [" ".join(line.split()[:3]) for line in lines]


class Unpreparable(web.StreamResponse):
    """A response that has switched the writer to chunks when it fails."""

    async def _write_headers(self) -> None:
        raise RuntimeError("secret")


def bad_header(kind: type[web.StreamResponse]) -> Callable[[web.Request], Any]:
    return lambda _request: kind(headers={"x-mine": "a\r\nb"})


async def bad_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"x-mine": "a\r\nb"})
    await response.prepare(request)
    return response


def unpreparable(_request: web.Request) -> web.StreamResponse:
    return Unpreparable()


def failing_payload(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=parts_that_fail())


def fine(_request: web.Request) -> str:
    return "fine"


@every_way
@pytest.mark.parametrize(
    "make",
    [
        bad_header(web.Response),
        bad_header(web.StreamResponse),
        bad_stream,
        unpreparable,
        failing_payload,
    ],
    ids=["header", "header of a stream", "prepared", "prepare", "payload"],
)
async def test_what_cannot_be_sent_is_a_whole_500_and_the_connection_goes_on(
    handler: Any, configure: Any, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = await answers(handler, configure, make, post(), get("/readiness"))
    assert first.error == INTERNAL
    assert "Transfer-Encoding" not in first.headers
    assert "x-mine" not in first.headers
    assert second.status == 200
    assert status_lines(caplog)[0] == "POST /invocations 500"
    assert "failed" in caplog.text


async def parts_that_fail() -> AsyncIterator[bytes]:
    raise RuntimeError("secret")
    yield b""


async def test_a_signal_that_raises_is_a_500_and_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[web.StreamResponse] = []

    async def fail(_request: web.Request, response: web.StreamResponse) -> None:
        calls.append(response)
        raise RuntimeError("secret")

    def configure(builder: AgentHostBuilder) -> None:
        builder.app.on_response_prepare.append(fail)

    caplog.set_level(logging.INFO)
    for request in (post(), get("/readiness"), get("/readiness", method="HEAD")):
        calls.clear()
        async with serving(answering(Plain, fine), configure) as client:
            answer = await ask(client, request, head=b"HEAD" in request)
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert len(calls) == 1
    assert {line[-3:] for line in status_lines(caplog)} == {"500"}


async def test_an_http_1_0_client_gets_the_envelope_too() -> None:
    request = b"POST /invocations HTTP/1.0\r\nContent-Length: 0\r\n\r\n"
    async with serving(answering(Plain, bad_stream)) as client, connected(client) as connection:
        connection.version = "HTTP/1.0"
        connection.send(request)
        assert (await connection.answer()).error == INTERNAL
        assert await connection.rest() == b""


@every_way
async def test_what_fails_after_its_first_byte_is_cut(handler: Any, configure: Any) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        raise ValueError("secret")

    async with serving(answering(handler, fail), configure) as client, connected(client) as connection:
        connection.send(post(), post())
        rest = await connection.rest()
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert rest.endswith(b"5\r\nfirst\r\n")
    assert rest.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("result", [None, "text", b"bytes", {"a": 1}])
@pytest.mark.parametrize("where", ["route", "middleware"])
async def test_a_route_or_middleware_that_returns_no_response_is_a_500(
    result: Any, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def route(_request: web.Request) -> Any:
        return result

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> Any:
        await handler(request)
        return result

    def configure(builder: AgentHostBuilder) -> None:
        if where == "route":
            builder.app.router.add_get("/mine", route)
        else:
            builder.app.middlewares.append(middleware)

    caplog.set_level(logging.INFO)
    async with serving(answering(Plain, fine), configure) as client:
        answer = await ask(client, get("/mine") if where == "route" else post())
    assert answer.error == INTERNAL
    assert f"a route or middleware of the application returned {type(result).__name__}" in caplog.text
    assert status_lines(caplog)[0].endswith("500")


@every_way
async def test_a_file_is_sent_once(handler: Any, configure: Any, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(b"x" * 100_000)

    async def prepared(request: web.Request) -> web.StreamResponse:
        response = web.FileResponse(path)
        await response.prepare(request)
        return response

    def returned(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    for make in (returned, prepared):
        found = await answers(handler, configure, make, post(), get("/readiness"))
        assert found[0].body == b"x" * 100_000
        assert found[1].status == 200


@every_way
async def test_a_response_may_be_prepared_with_a_clone_of_the_request(handler: Any, configure: Any) -> None:
    async def cloned(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request.clone(headers={"x-other": "1"}))
        await response.write(b"whole")
        return response

    found = await answers(
        handler, configure, cloned, post(b"", "x-agent-invocation-id: i-1"), get("/readiness")
    )
    assert (found[0].status, found[0].body) == (200, b"whole")
    assert found[0].headers["x-agent-invocation-id"] == "i-1"
    assert found[1].status == 200


async def test_a_middleware_may_hand_on_a_clone_of_the_request() -> None:
    @web.middleware
    async def clone(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(remote="192.0.2.1"))

    def configure(builder: AgentHostBuilder) -> None:
        builder.app.middlewares.append(clone)

    def text(request: web.Request) -> str:
        return str(request.remote)

    def response(request: web.Request) -> web.Response:
        return web.Response(text=str(request.remote))

    for make in (text, response):
        found = await answers(Plain, configure, make, post(), post())
        assert [answer.body for answer in found] == [b"192.0.2.1"] * 2


class Matching(InvocationHandler):
    """Answers what the path was matched to."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return dict(request.match_info)

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return {**request.match_info, **request.clone().match_info}


@pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])
async def test_match_info_has_the_parameters_of_the_path_with_an_application_and_without(
    configure: Any,
) -> None:
    async with serving(Matching, configure) as client:
        assert (await ask(client, post())).body == b"{}"
        assert (await ask(client, get("/invocations/a%3Ab"))).body == b'{"invocation_id":"a:b"}'
