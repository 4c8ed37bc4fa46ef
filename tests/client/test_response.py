"""What is read of a response that is an error, or breaks the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from agentserver.client import (
    NO_RETRY,
    ClientError,
    InvocationsClient,
    RefusedError,
    ResponseError,
)
from tests.client.peers import raw_peer, read_head
from tests.client.servers import Routes, Serve

NO_TIMES = [
    "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
    "1 Jan 99999999999999999999 0:0:0 GMT",
    "1 Jan 2024 99999999999999999999:00",
    "9" * 400,
    "-1",
    "soon",
    "\u0664",
]


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("status", [202, 429])
async def test_a_retry_after_that_makes_no_sense_is_none(value: str, status: int) -> None:
    async def busy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(f"HTTP/1.1 {status} OK\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode())

    async with raw_peer(busy) as url, InvocationsClient(url, retry=NO_RETRY) as client:
        if status == 202:
            assert (await client.invoke("x")).retry_after in {None, float("inf")}
        else:
            with pytest.raises(ResponseError, match="429"):
                await client.invoke("x")


GZIP = b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone"


DEFLATE = b"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\n\xff\xff\xff\xff"


MALFORMED = {
    "gzip that is none": b"HTTP/1.1 200 OK\r\n" + GZIP,
    "deflate that is none": b"HTTP/1.1 200 OK\r\n" + DEFLATE,
    "a chunk without a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a header that is none": b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    "a header that is too long": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * 5000 + b"\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "an error with gzip that is none": b"HTTP/1.1 500 X\r\n" + GZIP,
    "a status that is none": b"HTTP/1.1 abc\r\n\r\n",
}


Way = Callable[[InvocationsClient], Awaitable[object]]


async def _stream(client: InvocationsClient) -> object:
    async with client.stream("x", idle_timeout=5) as stream:
        return [chunk async for chunk in stream]


WAYS: dict[str, Way] = {
    "invoke": lambda client: client.invoke("x", timeout=5),
    "stream": _stream,
    "connect": lambda client: client.connect().__aenter__(),
    "actions": lambda client: client.actions().__aenter__(),
}


@pytest.mark.parametrize("says", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_an_answer_that_breaks_the_protocol_is_an_error_of_the_clients_own(
    says: bytes, way: Way
) -> None:
    async def malformed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(says)
        await writer.drain()

    async with raw_peer(malformed) as url, InvocationsClient(url, retry=NO_RETRY) as client:
        with pytest.raises(ClientError):
            await way(client)


NESTED = b'{"error": {"code": 1, "message": ' + b"[" * 500 + b"]" * 500 + b"}}"


@pytest.mark.parametrize("body", [NESTED, b'{"error": []}', b"[" * 60_000], ids=range(3))
async def test_an_error_with_a_strange_body_is_still_an_error(body: bytes) -> None:
    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with raw_peer(strange) as url, InvocationsClient(url) as client:
        with pytest.raises(ResponseError, match=r"^500 "):
            await client.invoke("x")


async def test_an_error_carries_code_message_source_and_ids(routes: Routes) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response(
            {"error": {"code": "quota_exceeded", "message": "Come back tomorrow"}},
            status=429,
            headers={
                "x-platform-error-source": "user",
                "x-agent-session-id": "s-9",
                "x-request-id": "r-9",
                "Retry-After": "7",
            },
        )

    async with InvocationsClient(await routes(post=refuse)) as client:
        with pytest.raises(ResponseError) as caught:
            await client.invoke("x", invocation_id="i-9")
    error = caught.value
    assert (error.status, error.code, error.message) == (429, "quota_exceeded", "Come back tomorrow")
    assert (error.source, error.retry_after) == ("user", 7.0)
    assert (error.invocation_id, error.session_id, error.request_id) == ("i-9", "s-9", "r-9")
    assert str(error) == "429 quota_exceeded: Come back tomorrow"


@pytest.mark.parametrize(
    ("status", "text", "kind", "code"),
    [
        (502, "<html>Bad gateway</html>", ResponseError, "http_502"),
        (401, "", RefusedError, "http_401"),
        (403, '{"error": "no"}', RefusedError, "http_403"),
        (500, '{"error": {"code": "c"}}', ResponseError, "http_500"),
        (500, "[" * 60_000, ResponseError, "http_500"),
        (307, "", ResponseError, "http_307"),
    ],
)
async def test_an_error_of_a_proxy_is_still_an_error_with_a_code(
    routes: Routes, status: int, text: str, kind: type[ResponseError], code: str
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with InvocationsClient(await routes(post=answer)) as client:
        with pytest.raises(ResponseError) as caught:
            await client.invoke("x")
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.invocation_id


async def test_an_error_that_arrives_in_pieces_is_read_whole(serve: Serve) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=429, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in ('{"error": {"code": "quota', '_exceeded", "mess', 'age": "Tomorrow"}}'):
            await response.write(piece.encode())
            await asyncio.sleep(0.02)
        return response

    async with InvocationsClient(await serve(slow)) as client:
        with pytest.raises(ResponseError, match="429 quota_exceeded: Tomorrow"):
            await client.invoke()


async def test_an_error_that_never_ends_is_not_read_to_its_end(serve: Serve) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with InvocationsClient(await serve(endless)) as client:
        with pytest.raises(ResponseError, match="500 http_500"):
            await client.invoke(timeout=20)
