"""Exceptions that cannot say what they are: the answer and the log come all the same."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationError, InvocationHandler, PlatformError, StartupError
from tests.http.raw import ask, connected, get, post
from tests.servers import serving


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class UnspeakableError(Unspeakable, Exception):
    pass


class UnspeakableValueError(Unspeakable, ValueError):
    pass


class UnspeakablePlatformError(Unspeakable, PlatformError):
    pass


class RaisingSourceError(Exception):
    @property
    def error_source(self) -> Any:
        raise RuntimeError("nobody knows")


class UnspeakableCauseError(PlatformError):
    def __init__(self) -> None:
        super().__init__()
        self.__cause__ = UnspeakableError()


class Raises(InvocationHandler):
    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        if "stream" not in request.query:
            raise self.error
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        raise self.error


@pytest.mark.parametrize(
    ("error", "source"),
    [
        (UnspeakableError, "upstream"),
        (UnspeakableValueError, "upstream"),
        (RaisingSourceError, "upstream"),
        (UnspeakablePlatformError, "platform"),
        (UnspeakableCauseError, "platform"),
    ],
)
async def test_it_is_a_500_and_a_line_of_the_log(
    error: type[Exception], source: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Raises(error)) as client:
        async with connected(client) as connection:
            connection.send(post())
            answer = await connection.answer()
            assert answer.error == (500, "internal_error", source)
            assert "no words" not in answer.headers.get("x-platform-error-detail", "")
            connection.send(get("/readiness"))
            assert (await connection.answer()).status == 200
        async with connected(client) as connection:
            connection.send(post(path="/invocations?stream"))
            assert (await connection.rest()).endswith(b"5\r\nfirst\r\n")
    assert caplog.text.count("invoke failed") == 2


async def test_a_header_of_an_error_may_be_a_number() -> None:
    class Busy(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            headers: Any = {"Retry-After": 5}
            raise InvocationError("busy", "Try again later", status=503, headers=headers)

    async with serving(Busy) as client:
        answer = await ask(client, post())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_a_start_up_hook_that_cannot_say_what_is_wrong_is_named() -> None:
    async def opens() -> None:
        raise UnspeakableError

    with pytest.raises(
        StartupError, match=r"the start-up hook opens failed: UnspeakableError: <Unsp.*raises>"
    ):
        async with serving(Raises(UnspeakableError), lambda builder: builder.on_startup(opens)):
            pass
