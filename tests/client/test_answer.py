"""What an answer raises when it is read as what it is not: nothing but what is documented."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable

import pytest

from agentserver.client import (
    NO_RETRY,
    Answer,
    AnswerError,
    ClientError,
    InvocationsClient,
    ResponseError,
)
from tests.client.peers import raw_peer, read_head


def an_answer(body: bytes, content_type: str = "application/json") -> Answer:
    return Answer(200, body, {"Content-Type": content_type}, "i", None, None)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b'{"a":' * 50_000], ids=range(6)
)
def test_a_body_that_cannot_be_read_as_json_is_an_answer_error(body: bytes) -> None:
    answer = an_answer(body)
    with pytest.raises(AnswerError, match=r"cannot be read as JSON: use \.text or \.body"):
        answer.json()
    assert answer.running is False


NO_CHARSETS = [
    "idna",
    "punycode",
    "undefined",
    "unicode_escape",
    "raw_unicode_escape",
    "hex",
    "zlib",
    "utf-8\0",
]


@pytest.mark.parametrize("charset", [*NO_CHARSETS, "\udc80", "no-such", "", '"', "mbcs", "x" * 5000])
def test_a_charset_that_is_none_does_not_keep_the_text_from_being_read(charset: str) -> None:
    answer = an_answer(b"caf\xc3\xa9 \\d x-\xff", f"text/plain; charset={charset}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answer.text == "caf\N{LATIN SMALL LETTER E WITH ACUTE} \\d x-\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain; Charset=latin-1", 'text/plain; a=b; CHARSET = "latin-1"', "text/plain;charset=latin-1;x=y"],
)
def test_the_charset_is_found_as_the_standard_writes_it(content_type: str) -> None:
    assert an_answer(b"caf\xe9", content_type).text == "caf\N{LATIN SMALL LETTER E WITH ACUTE}"


def test_a_parameter_that_only_ends_in_charset_is_another() -> None:
    content_type = "text/plain; x-charset=latin-1"
    assert an_answer(b"caf\xc3\xa9", content_type).text == "caf\N{LATIN SMALL LETTER E WITH ACUTE}"


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
