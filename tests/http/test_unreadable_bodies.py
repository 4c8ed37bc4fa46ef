"""A body that cannot be read is its client's fault, 400, and only if the error is about this very body."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationHandler, map_invocations_server
from tests.http.raw import Answer, ask, connected, get, post
from tests.servers import serving

BOUNDARY = "Content-Type: multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="a"%b\r\n\r\nvalue\r\n'


class Reads(InvocationHandler):
    """Reads the body as the query says."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await getattr(self, request.query.get("by", "json"))(request)

    async def json(self, request: web.Request) -> Any:
        return await request.json()

    async def loads(self, request: web.Request) -> Any:
        return json.loads(await request.read())

    async def loads_text(self, request: web.Request) -> Any:
        return json.loads(await request.text())

    async def text(self, request: web.Request) -> Any:
        return await request.text()

    async def decode(self, request: web.Request) -> Any:
        return (await request.read()).decode(request.charset or "utf-8")

    async def post(self, request: web.Request) -> Any:
        return {name: str(value) for name, value in (await request.post()).items()}

    async def multipart(self, request: web.Request) -> Any:
        found: list[str] = []
        reader = await request.multipart()
        while part := await reader.next():
            assert isinstance(part, aiohttp.BodyPartReader)
            found.append(await part.text())
        return found

    async def something_else(self, request: web.Request) -> Any:
        await request.json()
        return json.loads("[" * 100_000)

    async def another_number(self, request: web.Request) -> Any:
        await request.json()
        return int("9" * 5000)

    async def another_charset(self, request: web.Request) -> Any:
        return (await request.read()).decode("no-such-charset")

    async def a_key(self, request: web.Request) -> Any:
        return (await request.json())["missing"]

    async def own_parser(self, request: web.Request) -> Any:
        return await request.json(loads=broken_parser)


def broken_parser(_text: str) -> Any:
    raise ValueError("it is broken")


DEEP = b"[" * 100_000 + b"]" * 100_000
NUMBER = b"9" * 5000
UNREADABLE = {
    "JSON nested 100,000 deep": ("json", DEEP, "", "nested too deeply"),
    "the same, parsed by the handler": ("loads", DEEP, "", "nested too deeply"),
    "the same, as text": ("loads_text", DEEP, "", "nested too deeply"),
    "a number of 5,000 digits": ("json", NUMBER, "", "a number with too many digits"),
    "the same number, parsed by the handler": ("loads", b'{"n": [1, %b]}' % NUMBER, "", "too many digits"),
    "no JSON": ("json", b"{", "", "not valid JSON"),
    "no JSON, parsed by the handler": ("loads", b"{", "", "not valid JSON"),
    "no JSON in UTF-16": ("loads", "{oops".encode("utf-16"), "", "not valid JSON"),
    "no UTF-8": ("json", b'"\xff"', "", "not valid UTF-8 text"),
    "no UTF-8, parsed by the handler": ("loads", b'"\xff"', "", "not valid UTF-8 text"),
    "no UTF-8, read as text": ("text", b"\xff", "", "not valid UTF-8 text"),
    "no UTF-16": (
        "text",
        b"abc",
        "Content-Type: text/plain; charset=utf-16",
        "not valid text in its charset",
    ),
    "a charset there is not": ("json", b"{}", "Content-Type: a/b; charset=klingon", "charset of the request"),
    "a charset that is no text's": (
        "text",
        b"{}",
        "Content-Type: a/b; charset=hex",
        "charset of the request",
    ),
    "a charset that knows nothing": ("text", b"{}", "Content-Type: a/b; charset=undefined", "in its charset"),
    "a charset that the handler asks for": (
        "decode",
        b"{}",
        "Content-Type: a/b; charset=klingon",
        "charset of the request",
    ),
    "a form that is no UTF-8": (
        "post",
        b"a=\xff ",
        "Content-Type: application/x-www-form-urlencoded",
        "not valid UTF-8 text",
    ),
    "a form of an unknown charset": (
        "post",
        b"a=b",
        "Content-Type: application/x-www-form-urlencoded; charset=klingon",
        "charset of the request",
    ),
    "multipart without a boundary": ("post", b"x", "Content-Type: multipart/form-data", "malformed"),
    "multipart that does not begin": ("post", b"hello", BOUNDARY, "malformed"),
    "multipart that does not end": ("post", PART % b"", BOUNDARY, "malformed"),
    "multipart without a name": ("post", b"--b\r\n\r\nvalue\r\n--b--\r\n", BOUNDARY, "malformed"),
    "a part of an unknown charset": (
        "post",
        PART % b"\r\nContent-Type: text/plain; charset=klingon" + b"--b--\r\n",
        BOUNDARY,
        "charset of the request",
    ),
    "a part of an unknown coding": (
        "post",
        PART % b"\r\nContent-Transfer-Encoding: morse" + b"--b--\r\n",
        BOUNDARY,
        "malformed",
    ),
    "multipart that the handler walks through": ("multipart", b"hello", BOUNDARY, "malformed"),
    "what is no multipart": ("multipart", b"hello", "Content-Type: text/plain", "malformed"),
}


@asynccontextmanager
async def mapped() -> AsyncGenerator[aiohttp.ClientSession]:
    app = web.Application()
    map_invocations_server(app, Reads)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        yield client
    await runner.cleanup()


@pytest.mark.parametrize("by", ["host", "application"])
@pytest.mark.parametrize("case", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_body_that_cannot_be_read_is_400_with_a_sentence(
    case: tuple[str, bytes, str, str], by: str, caplog: pytest.LogCaptureFixture
) -> None:
    how, body, header, sentence = case
    async with serving(Reads) if by == "host" else mapped() as client:
        headers = (header,) if header else ()
        answer = await ask(client, post(body, *headers, path=f"/invocations?by={how}"))
        assert answer.error == (400, "invalid_request", "user")
        assert sentence in answer.body.decode()
        assert (await ask(client, get("/readiness"))).status == 200
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("by", ["something_else", "another_number", "another_charset", "a_key", "own_parser"])
async def test_an_error_about_another_text_is_the_agents(by: str) -> None:
    async with serving(Reads) as client:
        answer = await ask(client, post(b'{"fine": 1}', path=f"/invocations?by={by}"))
        assert answer.error == (500, "internal_error", "upstream")


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


TEXT = json.dumps(["what was said " * 20_000]).encode()
PACKED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate without its header": ("deflate", raw_deflate(TEXT)),
    "gzip in two parts": ("gzip", gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:])),
}


async def send(client: aiohttp.ClientSession, body: bytes, coding: str, step: int = 1 << 20) -> Answer:
    async with connected(client) as connection:
        head = post(b"", f"Content-Encoding: {coding}").replace(b"Length: 0", b"Length: %d" % len(body))
        connection.send(head)
        for at in range(0, len(body), step):
            connection.send(body[at : at + step])
            await connection.writer.drain()
            await asyncio.sleep(0)
        return await connection.answer()


@pytest.mark.parametrize("case", PACKED.values(), ids=PACKED.keys())
@pytest.mark.parametrize("step", [1 << 20, 97])
async def test_a_packed_body_is_unpacked(case: tuple[str, bytes], step: int) -> None:
    coding, body = case
    async with serving(Reads) as client:
        answer = await send(client, body, coding, step)
    assert (answer.status, json.loads(answer.body)) == (200, json.loads(TEXT))


@pytest.mark.parametrize("case", PACKED.values(), ids=PACKED.keys())
@pytest.mark.parametrize("left", [1, 9, 100])
async def test_a_packed_body_that_is_cut_short_is_refused(case: tuple[str, bytes], left: int) -> None:
    coding, body = case
    async with serving(Reads) as client:
        answer = await send(client, body[:-left], coding)
        assert answer.error == (400, "invalid_request", "user")
        assert (await send(client, body, coding)).status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_packed_body_of_nothing_is_empty(coding: str) -> None:
    async with serving(Reads) as client:
        answer = await ask(client, post(b"", f"Content-Encoding: {coding}", path="/invocations?by=text"))
    assert (answer.status, answer.body) == (200, b"")


async def test_a_thousand_packed_nothings_are_refused() -> None:
    async with serving(Reads) as client:
        answer = await send(client, gzip.compress(b"") * 5000, "gzip")
    assert answer.error == (400, "invalid_request", "user")


async def test_a_bomb_of_a_megabyte_is_413_and_nobody_waits_for_it() -> None:
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(b"\0" * 16_000_000) for _ in range(64)) + packer.flush()
    assert 900_000 < len(bomb) < 1_100_000
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)

    async with serving(Reads) as client:
        await send(client, gzip.compress(b"{}"), "gzip")  # the first of all has modules to load
        watching = asyncio.create_task(watch())
        answer = await asyncio.wait_for(send(client, bomb, "gzip"), 10)
        watching.cancel()
        assert answer.error == (413, "payload_too_large", "user")
    assert longest < 0.1


async def test_a_packed_body_that_nobody_reads_is_not_unpacked_further() -> None:
    class Ignores(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            await asyncio.sleep(0.1)
            return str(request.content.total_bytes < 1_000_000)

    async with serving(Ignores) as client, connected(client) as connection:
        for _ in range(2):
            connection.send(post(gzip.compress(b"\0" * 20_000_000), "Content-Encoding: gzip"))
            assert (await connection.answer()).body == b"True"
