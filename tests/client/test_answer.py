"""What an answer raises when it is read as what it is not: nothing but what is documented."""

from __future__ import annotations

import warnings

import pytest
from aiohttp import web

from agentserver.client import (
    Answer,
    AnswerError,
    InvocationsClient,
)
from tests.client.servers import Routes, Serve


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


async def test_an_answer_that_is_no_json_says_what_to_read_instead(routes: Routes) -> None:
    async def text(_request: web.Request) -> web.Response:
        return web.Response(
            body="né".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}
        )

    async with InvocationsClient(await routes(post=text)) as client:
        answer = await client.invoke("x")
    assert answer.text == "né"
    with pytest.raises(AnswerError, match=r"text/plain.*use \.text"):
        answer.json()


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=latin-1", b"caf\xe9", "café"),
        ('text/plain; charset="utf-8"; x=y', "café".encode(), "café"),
        ("text/plain; charset=no-such", "café".encode(), "café"),
        ("application/json", b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
async def test_text_is_read_in_the_charset_the_server_names(
    serve: Serve, content_type: str, body: bytes, text: str
) -> None:
    async def say(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    async with InvocationsClient(await serve(say)) as client:
        answer = await client.invoke()
    assert (answer.text, answer.running) == (text, False)
