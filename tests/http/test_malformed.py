"""What cannot be read is refused in the one envelope, and the connection with it (contract, section 4)."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationHandler
from tests.http.raw import ask, connected, get, post
from tests.servers import serving

TO_INVOKE = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
CHUNKED = TO_INVOKE + b"Transfer-Encoding: chunked\r\n\r\n"
MALFORMED = {
    "a version left out": b"GET /readiness\r\n\r\n",
    "no HTTP at all": b"\x00\x01\x02 garbage\r\n\r\n",
    "a TLS greeting": bytes.fromhex("16030100c8010000c40303"),
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version there is not": b"GET /readiness HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /readiness HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /readiness HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a length beside chunks": TO_INVOKE
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunks beside a length": TO_INVOKE
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two lengths": TO_INVOKE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a list of lengths": TO_INVOKE + b"Content-Length: 5, 5\r\n\r\nhello",
    "a negative length": TO_INVOKE + b"Content-Length: -5\r\n\r\nhello",
    "a signed length": TO_INVOKE + b"Content-Length: +5\r\n\r\nhello",
    "a hexadecimal length": TO_INVOKE + b"Content-Length: 0x5\r\n\r\nhello",
    "a length of 5000 digits": TO_INVOKE + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nhello",
    "a coding that ends nowhere": TO_INVOKE + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "chunks within another coding": TO_INVOKE + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunks within chunks": TO_INVOKE + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    "a space before the colon": b"GET /readiness HTTP/1.1\r\nHost : x\r\n\r\n",
    "a header without a colon": b"GET /readiness HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "a NUL in a header": get("/readiness", "X-A: a\x00b"),
    "a lone CR in a header": get("/readiness", "X-A: a\rb"),
    "a folded header": get("/readiness", "X-A: a\r\n b"),
    "lines that end in LF alone": b"GET /readiness HTTP/1.1\nHost: x\n\n",
    "a path of 20,000 characters": get("/" + "a" * 20_000),
    "a header of 20,000 characters": get("/readiness", "X-A: " + "a" * 20_000),
    "a method with a parenthesis": b"GE(T /readiness HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes above ASCII in the path": "GET /é HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "an address that is none": get("http://[::1/readiness"),
    "a port that is none": get("http://x:99999/readiness"),
}


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await request.read()


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_request_that_is_no_http_is_refused_with_the_envelope_and_the_connection_closed(
    data: bytes,
) -> None:
    async with serving(Echo) as client:
        async with connected(client) as connection:
            connection.send(data)
            answer = await connection.answer()
            assert answer.error == (400, "invalid_request", "user")
            assert answer.headers["Connection"] == "close"
            assert await connection.rest() == b""
        assert (await ask(client, get("/readiness"))).status == 200


async def test_a_transfer_coding_that_is_not_understood_is_501() -> None:
    async with serving(Echo) as client, connected(client) as connection:
        connection.send(TO_INVOKE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        assert (await connection.answer()).error == (501, "not_implemented", "user")
        assert await connection.rest() == b""


async def test_nothing_after_a_malformed_request_is_answered() -> None:
    async with serving(Echo) as client, connected(client) as connection:
        smuggled = post(b"smuggled")
        connection.send(MALFORMED["a length beside chunks"], smuggled)
        assert (await connection.answer()).status == 400
        assert await connection.rest() == b""


async def test_requests_before_a_malformed_one_are_answered_first() -> None:
    async with serving(Echo) as client, connected(client) as connection:
        connection.send(post(b"one"), post(b"two"))
        assert (await connection.answer()).body == b"one"
        assert (await connection.answer()).body == b"two"
        connection.send(b"nonsense\r\n\r\n")
        assert (await connection.answer()).status == 400


async def test_a_body_that_its_encoding_cannot_open_is_the_users_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Echo) as client:
        answer = await ask(client, post(b"hello", "Content-Encoding: gzip"))
        assert answer.error == (400, "invalid_request", "user")
        assert "x-agent-invocation-id" in answer.headers
    assert "Traceback" not in caplog.text


async def test_a_client_that_leaves_within_a_body_leaves_the_server_well() -> None:
    async with serving(Echo) as client:
        for data in (TO_INVOKE, TO_INVOKE + b"Content-Length: 9\r\n\r\nhel", CHUNKED + b"9\r\nhel"):
            async with connected(client) as connection:
                connection.send(data)
                await connection.writer.drain()
        assert (await ask(client, post(b"fine"))).body == b"fine"


@pytest.mark.parametrize("which", ["a path of 20,000 characters", "a header of 20,000 characters"])
async def test_what_is_too_long_is_said_to_be_that(which: str) -> None:
    async with serving(Echo) as client:
        answer = await ask(client, MALFORMED[which])
    assert b"The path or a header field is longer than this server takes" in answer.body
