"""The limit on request bodies, to the byte (contract, section 9), and ``Expect: 100-continue``."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from tests.http.raw import ask, connected, get, post
from tests.servers import serving

LIMIT = 10_000
TOO_LARGE = (413, "payload_too_large", "user")


class Measuring(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return len(await request.read())


class Ignoring(InvocationHandler):
    """Never reads the body."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return "not read"

    async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return len(await request.read())


def limited(builder: AgentHostBuilder) -> None:
    builder.configure(max_body_size=LIMIT)


def with_app(builder: AgentHostBuilder) -> None:
    limited(builder)
    assert builder.app is not None


def announced(size: int) -> bytes:
    return post(b"x" * size)


def chunked(size: int, piece: int = 1_000) -> bytes:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    sizes = [piece] * (size // piece) + ([size % piece] if size % piece else [])
    return head + b"".join(b"%x\r\n%b\r\n" % (n, b"x" * n) for n in sizes) + b"0\r\n\r\n"


@pytest.mark.parametrize("configure", [limited, with_app])
@pytest.mark.parametrize("request_of", [announced, chunked], ids=["announced", "chunked"])
async def test_a_body_at_the_limit_is_taken_and_one_byte_more_is_413(configure: Any, request_of: Any) -> None:
    async with serving(Measuring, configure) as client:
        assert (await ask(client, request_of(LIMIT))).body == b"10000"
        async with connected(client) as connection:
            connection.send(request_of(LIMIT + 1))
            answer = await connection.answer()
            assert answer.error == TOO_LARGE
            assert answer.headers["Connection"] == "close"
            assert await connection.rest() == b""


@pytest.mark.parametrize("configure", [limited, with_app])
async def test_a_handler_that_reads_the_body_piece_by_piece_is_stopped_at_the_limit(configure: Any) -> None:
    read = 0

    class Reading(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            nonlocal read
            async for piece in request.content.iter_any():
                read += len(piece)
            return read

    async with serving(Reading, configure) as client:
        assert (await ask(client, chunked(LIMIT))).body == b"10000"
        read = 0
        answer = await ask(client, chunked(50 * LIMIT))
        assert answer.error == TOO_LARGE
        assert read < 40 * LIMIT


async def test_a_body_whose_announcement_is_over_the_limit_is_refused_before_it_is_sent() -> None:
    async with serving(Ignoring, limited) as client:
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999999\r\n\r\n"
        assert (await ask(client, head)).error == TOO_LARGE
        cancel = head.replace(b"/invocations", b"/invocations/inv-1/cancel")
        assert (await ask(client, cancel)).error == TOO_LARGE


async def test_a_refused_body_has_the_ids_of_its_invocation() -> None:
    head = "POST {} HTTP/1.1\r\nHost: x\r\nx-agent-invocation-id: inv-1\r\nContent-Length: 10001\r\n\r\n"
    async with serving(Ignoring, limited) as client:
        answer = await ask(client, head.format("/invocations?agent_session_id=s-1").encode())
        assert (answer.headers["x-agent-invocation-id"], answer.headers["x-agent-session-id"]) == (
            "inv-1",
            "s-1",
        )
        answer = await ask(client, head.format("/invocations/inv-2/cancel").encode())
        assert answer.headers["x-agent-invocation-id"] == "inv-2"


async def test_a_body_that_unpacks_to_more_than_the_limit_is_413() -> None:
    packed = gzip.compress(b"\0" * 50_000_000)
    assert len(packed) < 100_000
    async with serving(Measuring, lambda builder: builder.configure(max_body_size=100_000)) as client:
        answer = await ask(client, post(packed, "Content-Encoding: gzip"))
        assert answer.error == TOO_LARGE


async def test_the_limit_is_30_000_000_bytes_unless_it_is_set() -> None:
    async with serving(Ignoring) as client:
        async with connected(client) as connection:
            connection.send(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n")
            assert (await connection.answer()).body == b"not read"
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 30000001\r\n\r\n"
        assert (await ask(client, head)).error == TOO_LARGE


@pytest.mark.parametrize("configure", [limited, with_app])
async def test_a_client_that_waits_for_100_continue_is_told_to_go_on(configure: Any) -> None:
    async with serving(Measuring, configure) as client, connected(client) as connection:
        head, body = post(b"hello", "Expect: 100-continue").split(b"hello")[0], b"hello"
        connection.send(head)
        assert (await connection.answer()).status == 100
        connection.send(body)
        answer = await connection.answer()
        assert (answer.status, answer.body) == (200, b"5")
        assert "x-request-id" in answer.headers
        connection.send(get("/readiness"))
        assert (await connection.answer()).status == 200


@pytest.mark.parametrize("configure", [limited, with_app])
async def test_a_client_that_waits_with_too_large_a_body_is_refused(
    configure: Any,
) -> None:
    async with serving(Measuring, configure) as client, connected(client) as connection:
        connection.send(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10001\r\n\r\n"
        )
        answer = await connection.answer()
        if answer.status == 100:
            answer = await connection.answer()
        assert answer.error == TOO_LARGE


@pytest.mark.parametrize("configure", [limited, with_app])
async def test_another_expectation_is_417(configure: Any) -> None:
    async with serving(Measuring, configure) as client:
        answer = await ask(client, post(b"hello", "Expect: a miracle"))
        assert answer.error == (417, "expectation_failed", "user")


async def test_a_body_that_the_handler_does_not_read_does_not_spoil_the_next_request() -> None:
    async with serving(Ignoring, limited) as client, connected(client) as connection:
        for _ in range(3):
            connection.send(post(b"x" * LIMIT), chunked(LIMIT))
            assert (await connection.answer()).body == b"not read"
            assert (await connection.answer()).body == b"not read"
