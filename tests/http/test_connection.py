"""One connection, many requests: order, keep-alive, HEAD, OPTIONS (RFC 9110, 9112; contract, section 1)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationHandler
from tests.http.raw import ask, connected, get, post
from tests.servers import serving


class Agent(InvocationHandler):
    """``wait``s for the gate, ``stream``s, ``fail``s, or echoes."""

    gate: asyncio.Event

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        body = await request.text()
        if body == "wait":
            await self.gate.wait()
        if body == "stream":
            return self.words()
        if body == "fail":
            raise RuntimeError
        return body

    async def words(self) -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(0)
        yield "b"

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        if invocation_id == "response":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"a body")
            return response
        return self.words() if invocation_id == "stream" else {"id": invocation_id}

    async def get_openapi(self, request: web.Request) -> Any:
        return {"openapi": "3.1.0"}


@pytest.fixture
def agent() -> Agent:
    handler = Agent()
    handler.gate = asyncio.Event()
    return handler


async def test_pipelined_requests_are_answered_in_their_order(agent: Agent) -> None:
    async with serving(agent) as client, connected(client) as connection:
        bodies = [b"wait", b"two", b"stream", b"fail", b"five"]
        connection.send(*(post(body, f"x-agent-invocation-id: {i}") for i, body in enumerate(bodies)))
        connection.send(get("/nope"), get("/readiness"))
        await asyncio.sleep(0.05)
        agent.gate.set()
        answers = [await connection.answer() for _ in range(7)]
    assert [answer.status for answer in answers] == [200, 200, 200, 500, 200, 404, 200]
    assert [answer.body for answer in answers[:3]] == [b"wait", b"two", b"ab"]
    assert [answer.headers.get("x-agent-invocation-id") for answer in answers] == [*"01234", None, None]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 7


async def test_a_request_that_comes_in_pieces_is_answered_like_any_other(agent: Agent) -> None:
    async with serving(agent) as client, connected(client) as connection:
        for byte in post(b"piece by piece", "x-agent-invocation-id: slow"):
            connection.send(bytes([byte]))
            await connection.writer.drain()
            await asyncio.sleep(0)
        answer = await connection.answer()
        assert (answer.body, answer.headers["x-agent-invocation-id"]) == (b"piece by piece", "slow")


async def test_a_connection_is_kept_until_one_side_says_close(agent: Agent) -> None:
    async with serving(agent) as client, connected(client) as connection:
        for body in (b"a", b"b", b"fail", b"stream"):
            connection.send(post(body))
            assert "Connection" not in (await connection.answer()).headers
        connection.send(post(b"last", "Connection: close"))
        answer = await connection.answer()
        assert (answer.body, answer.headers["Connection"]) == (b"last", "close")
        assert await connection.rest() == b""


async def test_http_1_0_is_answered_and_the_connection_closed_unless_it_asks_to_keep_it(agent: Agent) -> None:
    async with serving(agent) as client:
        async with connected(client) as connection:
            connection.version = "HTTP/1.0"
            connection.send(b"GET /readiness HTTP/1.0\r\n\r\n")
            assert (await connection.answer()).body == b'{"status":"healthy"}'
            assert await connection.rest() == b""
        async with connected(client) as connection:
            connection.version = "HTTP/1.0"
            for _ in range(2):
                connection.send(b"GET /readiness HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert (await connection.answer()).headers["Connection"] == "keep-alive"


@pytest.mark.parametrize("kind", ["stream", "response"])
async def test_a_stream_over_http_1_0_ends_with_the_connection(agent: Agent, kind: str) -> None:
    async with serving(agent) as client, connected(client) as connection:
        connection.send(
            f"GET /invocations/{kind} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode(), get("/readiness")
        )
        rest = await connection.rest()
    assert rest.endswith(b"\r\n\r\nab" if kind == "stream" else b"\r\n\r\na body")


@pytest.mark.parametrize(
    "path",
    ["/readiness", "/invocations/inv-1", "/invocations/docs/openapi.json", "/invocations/docs/asyncapi.json"],
)
async def test_head_answers_as_get_without_the_body(agent: Agent, path: str) -> None:
    varying = {"x-request-id", "x-agent-session-id", "date"}
    async with serving(agent) as client, connected(client) as connection:
        connection.send(get(path))
        whole = await connection.answer()
        connection.send(get(path, method="HEAD"), get("/readiness"))
        head = await connection.answer(head=True)
        assert (await connection.answer()).status == 200
    assert head.status == whole.status
    assert {name.lower() for name in head.headers} == {name.lower() for name in whole.headers}
    for name, value in whole.headers.items():
        assert name.lower() in varying or head.headers[name] == value


@pytest.mark.parametrize("kind", ["stream", "response"])
async def test_head_of_a_stream_has_no_body_and_leaves_the_connection_usable(agent: Agent, kind: str) -> None:
    async with serving(agent) as client, connected(client) as connection:
        connection.send(get(f"/invocations/{kind}", method="HEAD"), post(b"next"))
        assert (await connection.answer(head=True)).status == 200
        assert (await connection.answer()).body == b"next"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/readiness", "GET, HEAD"),
        ("/invocations", "POST"),
        ("/invocations/", "POST"),
        ("/invocations/inv-1", "GET, HEAD"),
        ("/invocations/inv-1/cancel", "POST"),
        ("/invocations/docs/openapi.json", "GET, HEAD"),
        ("/invocations/docs/asyncapi.json", "GET, HEAD"),
        ("/invocations/docs/asyncapi.yaml", "GET, HEAD"),
    ],
)
async def test_another_method_is_405_and_told_which_are_allowed(agent: Agent, path: str, allow: str) -> None:
    async with serving(agent) as client:
        others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LOCK"}
        for method in sorted(others - set(allow.split(", "))):
            answer = await ask(client, get(path, method=method), head=method == "HEAD")
            assert answer.status == 405, method
            assert answer.headers["Allow"] == allow
            assert answer.headers["x-platform-error-source"] == "user"
            assert method == "HEAD" or answer.error == (405, "method_not_allowed", "user")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/Invocations",
        "/invocations//",
        "//invocations",
        "/invocations/a/b",
        "/invocations/a/cancel/b",
        "/invocations/../readiness",
        "/readiness/x",
        "/invocations/docs/openapi.yaml/x",
    ],
)
async def test_an_unknown_path_is_404_and_the_users_fault(agent: Agent, path: str) -> None:
    async with serving(agent) as client:
        for method in ("GET", "POST", "OPTIONS"):
            assert (await ask(client, get(path, method=method))).error == (404, "not_found", "user")


async def test_asterisk_and_connect_are_answered_like_any_unknown_path(agent: Agent) -> None:
    async with serving(agent) as client:
        for line in (b"OPTIONS *", b"CONNECT x:80"):
            answer = await ask(client, line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.error == (404, "not_found", "user")


async def test_an_absolute_address_names_the_path_in_it(agent: Agent) -> None:
    async with serving(agent) as client:
        answer = await ask(client, post(b"proxied", path="http://agent.example/invocations?a=1"))
        assert answer.body == b"proxied"


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_an_upgrade_that_leads_nowhere_is_not_followed(agent: Agent, upgrade: str) -> None:
    async with serving(agent) as client, connected(client) as connection:
        connection.send(get("/readiness", "Connection: Upgrade", f"Upgrade: {upgrade}"))
        assert (await connection.answer()).status == 200


@pytest.mark.parametrize(
    ("path", "invocation_id"),
    [
        ("/invocations/inv-1/", "inv-1"),
        ("/invocations/a%3Ab", "a:b"),
        ("/invocations/docs", "docs"),
        ("/invocations/inv-1?agent_session_id=other", "inv-1"),
    ],
)
async def test_the_id_in_the_path_is_decoded_and_given_to_the_handler(
    agent: Agent, path: str, invocation_id: str
) -> None:
    async with serving(agent) as client:
        answer = await ask(client, get(path))
        assert answer.body == b'{"id":"%b"}' % invocation_id.encode()
        assert answer.headers["x-agent-invocation-id"] == invocation_id
