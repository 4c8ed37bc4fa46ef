"""What a handler raises: the envelope, the source, and nothing of an exception's own (section 4)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    BadRequestError,
    InvocationContext,
    InvocationError,
    InvocationHandler,
    PlatformError,
    TooManyRequestsError,
)
from agentserver.errors import ErrorSource
from tests.http.raw import Answer, ask, connected, get, post
from tests.servers import serving

INTERNAL = (500, "internal_error", "upstream")


class Raising(InvocationHandler):
    """Raises what *make* makes, from whichever operation is asked."""

    def __init__(self, make: Any) -> None:
        self.make = make

    async def fail(self) -> Any:
        raise self.make()

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await self.fail()

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return await self.fail()

    async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return await self.fail()

    async def get_openapi(self, request: web.Request) -> Any:
        return await self.fail()


class Teapot(web.HTTPClientError):
    status_code = 418


class Unheard(web.HTTPClientError):
    status_code = 499


class UnheardServer(web.HTTPServerError):
    status_code = 599


async def answer_to(make: Any, request: bytes = b"") -> Answer:
    async with serving(Raising(make)) as client, connected(client) as connection:
        connection.send(request or post())
        answer = await connection.answer()
        if answer.status != 413:
            connection.send(get("/readiness"))
            assert (await connection.answer()).status == 200, "the connection is still good"
        return answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(),
        get("/invocations/i"),
        post(path="/invocations/i/cancel"),
        get("/invocations/docs/openapi.json"),
    ],
)
async def test_every_operation_fails_alike(request_bytes: bytes, caplog: pytest.LogCaptureFixture) -> None:
    answer = await answer_to(lambda: RuntimeError("the secret reason"), request_bytes)
    assert answer.error == INTERNAL
    assert json.loads(answer.body)["error"]["message"] == "Internal server error"
    assert "secret" not in f"{answer.headers}{answer.body!r}"
    assert "the secret reason" in caplog.text


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: KeyError("k"), INTERNAL),
        (asyncio.TimeoutError, INTERNAL),
        (asyncio.CancelledError, INTERNAL),
        (StopAsyncIteration, INTERNAL),
        (StopIteration, INTERNAL),
        (lambda: ConnectionResetError("the model's connection"), INTERNAL),
        (lambda: json.JSONDecodeError("the model's answer", "{", 1), INTERNAL),
        (BadRequestError, (400, "invalid_request", "user")),
        (lambda: InvocationError("quota_exceeded", "no", status=402), (402, "quota_exceeded", "user")),
        (lambda: InvocationError("model_down", "no", status=502), (502, "model_down", "upstream")),
        (lambda: InvocationError("weird", "no", status=599), (599, "weird", "upstream")),
        (PlatformError, (500, "internal_error", "platform")),
        (web.HTTPBadRequest, (400, "invalid_request", "user")),
        (web.HTTPNotFound, (404, "not_found", "user")),
        (lambda: web.HTTPRequestEntityTooLarge(1, 2), (413, "payload_too_large", "user")),
        (web.HTTPTooManyRequests, (429, "too_many_requests", "user")),
        (web.HTTPInternalServerError, INTERNAL),
        (web.HTTPServiceUnavailable, (503, "unavailable", "upstream")),
        (web.HTTPGatewayTimeout, (504, "gateway_timeout", "upstream")),
        (Teapot, (418, "im_a_teapot", "user")),
        (Unheard, (499, "invalid_request", "user")),
        (UnheardServer, (599, "internal_error", "upstream")),
    ],
)
async def test_what_is_raised_has_its_status_code_and_source(
    make: Any, expected: tuple[int, str, str]
) -> None:
    answer = await answer_to(make)
    assert answer.error == expected
    assert {"x-agent-invocation-id", "x-agent-session-id"} <= {name.lower() for name in answer.headers}
    assert ("x-platform-error-detail" in answer.headers) == (expected[2] == "platform")


async def test_the_message_of_an_error_that_is_meant_for_the_client_reaches_it_whole() -> None:
    answer = await answer_to(lambda: InvocationError("c", 'line\r\n"quoted" ü 🐝'))
    assert json.loads(answer.body) == {"error": {"code": "c", "message": 'line\r\n"quoted" ü 🐝'}}
    answer = await answer_to(lambda: web.HTTPConflict(text="already running"))
    assert json.loads(answer.body)["error"]["message"] == "already running"
    answer = await answer_to(lambda: web.HTTPConflict(reason="Busy"))
    assert json.loads(answer.body)["error"]["message"] == "Busy"


async def test_headers_of_an_error_go_out_but_none_that_would_belie_the_envelope() -> None:
    answer = await answer_to(lambda: TooManyRequestsError(retry_after=7))
    assert (answer.error[0], answer.headers["Retry-After"]) == (429, "7")
    lying = {"Content-Length": "1", "content-type": "text/html", "Content-Encoding": "gzip", "x-mine": "1"}
    answer = await answer_to(lambda: InvocationError("c", "m", headers=lying))
    assert (answer.error, answer.headers["x-mine"]) == ((400, "c", "user"), "1")

    def unauthorized() -> web.HTTPUnauthorized:
        error = web.HTTPUnauthorized(headers=[("WWW-Authenticate", "Bearer"), ("WWW-Authenticate", "Basic")])
        error.headers["Content-Encoding"] = "gzip"
        return error

    answer = await answer_to(unauthorized)
    assert answer.headers.getall("WWW-Authenticate") == ["Bearer", "Basic"]
    assert answer.error == (401, "unauthorized", "user")


def test_an_error_with_a_header_that_no_response_can_carry_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="'x-mine' of an error must be printable"):
        InvocationError("c", "m", headers={"x-mine": "a\r\nx-forged: 1"})
    with pytest.raises(ValueError, match="status is 200"):
        InvocationError("c", "m", status=200)


async def test_an_http_exception_with_a_body_of_its_own_keeps_it_and_gets_its_source() -> None:
    answer = await answer_to(lambda: web.HTTPConflict(text='{"mine": 1}', content_type="application/json"))
    assert (answer.status, answer.body) == (409, b'{"mine": 1}')
    assert answer.headers["x-platform-error-source"] == "user"
    answer = await answer_to(lambda: web.HTTPInternalServerError(text="<p/>", content_type="application/xml"))
    assert (answer.status, answer.body) == (500, b"<p/>")
    assert answer.headers["x-platform-error-source"] == "upstream"


async def test_a_redirect_or_a_success_that_is_raised_is_answered_as_such() -> None:
    answer = await answer_to(lambda: web.HTTPSeeOther("/invocations/job-1"))
    assert (answer.status, answer.headers["Location"]) == (303, "/invocations/job-1")
    assert "x-platform-error-source" not in answer.headers
    assert "x-agent-invocation-id" in answer.headers
    answer = await answer_to(lambda: web.HTTPAccepted(text="later"))
    assert (answer.status, answer.body) == (202, b"later")
    answer = await answer_to(web.HTTPNoContent)
    assert (answer.status, answer.body) == (204, b"")


class TaggedError(Exception):
    error_source = ErrorSource.PLATFORM


@pytest.mark.parametrize(
    ("make", "detail"),
    [
        (lambda: PlatformError("store is down"), "PlatformError: store is down"),
        (lambda: TaggedError("a\r\nx-forged: 1\tb\0c\x7f"), "TaggedError: ax-forged: 1bc"),
        (lambda: TaggedError("grüße"), "TaggedError: gr??e"),
        (lambda: TaggedError("x" * 2035), "TaggedError: " + "x" * 2035),
        (lambda: TaggedError("x" * 2036), "TaggedError: " + "x" * 2021 + "...[truncated]"),
    ],
)
async def test_a_platform_error_says_in_its_header_what_it_was(make: Any, detail: str) -> None:
    answer = await answer_to(make)
    assert answer.error == (500, "internal_error", "platform")
    assert answer.headers["x-platform-error-detail"] == detail
    assert "x-forged" not in answer.headers
    assert len(detail) <= 2048


async def test_a_platform_error_raised_from_another_says_what_the_other_was() -> None:
    class Failing(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            raise PlatformError from OSError("no route to the store")

    async with serving(Failing) as client:
        answer = await ask(client, post())
    assert answer.headers["x-platform-error-detail"] == "OSError: no route to the store"


@pytest.mark.parametrize(
    "error", [RuntimeError("late"), BadRequestError("late"), web.HTTPConflict(text="late"), ValueError()]
)
async def test_whatever_a_started_stream_raises_cuts_it_and_is_logged_with_its_ids(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    class Streaming(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[str]:
            yield "begun"
            raise error

    caplog.set_level(logging.INFO)
    async with serving(Streaming) as client, connected(client) as connection:
        connection.send(post(b"", "x-agent-invocation-id: inv-cut"), get("/readiness"))
        rest = await connection.rest()
    assert rest.endswith(b"5\r\nbegun\r\n")
    assert rest.count(b"HTTP/1.1") == 1


async def test_a_handler_that_fails_does_not_harm_the_requests_beside_it() -> None:
    class Mixed(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            body = await request.text()
            await asyncio.sleep(0)
            if body.startswith("fail"):
                raise RuntimeError
            return body

    async with serving(Mixed) as client:
        bodies = [f"{'fail' if number % 3 else 'fine'} {number}" for number in range(60)]
        answers = await asyncio.gather(*(ask(client, post(body.encode())) for body in bodies))
    for body, answer in zip(bodies, answers, strict=True):
        assert (answer.status, answer.body == body.encode()) == (
            (500, False) if "fail" in body else (200, True)
        )


@pytest.mark.parametrize("forged", ["a\r\nx-forged: 1", "a\0b"])
async def test_a_response_that_no_header_can_carry_is_a_500(forged: str) -> None:
    class Reflecting(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return web.Response(text="x", headers={"x-reflected": forged})

    async with serving(Reflecting) as client:
        assert (await ask(client, post())).error == INTERNAL


class AbortError(BaseException):
    """Not an `Exception`, as some libraries have them."""


@pytest.mark.parametrize("make", [AbortError, GeneratorExit])
async def test_an_exception_that_is_no_exception_is_a_500_too(make: Any) -> None:
    assert (await answer_to(make)).error == INTERNAL


async def test_a_response_shorter_than_it_announced_is_cut() -> None:
    class Short(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "10"})
            await response.prepare(request)
            await response.write(b"short")
            return response

    async with serving(Short) as client, connected(client) as connection:
        connection.send(post(), get("/readiness"))
        assert (await asyncio.wait_for(connection.reader.read(), 1)).endswith(b"\r\n\r\nshort")
