"""What a raised ``web.HTTPException`` says beside its status: cookies, headers, the end of the connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from agentserver._http.exchange import Exchange
from agentserver._http.outcome import Outcome, raised
from agentserver._http.pipeline import Pipeline
from agentserver.errors import Failure
from tests.http.raw import Answer, connected, get, post
from tests.servers import serving


def with_app(builder: AgentHostBuilder) -> None:
    assert builder.app is not None


everywhere = pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])

ERRORS: Mapping[str, web.HTTPException] = {
    "redirect": web.HTTPFound("/elsewhere"),
    "envelope": web.HTTPUnauthorized(text="sign in"),
    "own body": web.HTTPConflict(text="<p>mine</p>", content_type="text/html"),
    "own body of the server": web.HTTPBadGateway(text="{}", content_type="application/json"),
}


async def answer_to(error: web.HTTPException, configure: Any) -> tuple[Answer, bool]:
    """The answer to a handler that raises *error*, and whether the connection serves another request."""

    class Raising(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            raise error

    async with serving(Raising, configure) as client, connected(client) as connection:
        connection.send(post(), get("/readiness"))
        answer = await connection.answer()
        return answer, bool(await connection.reader.read(1))


@everywhere
@pytest.mark.parametrize("name", ERRORS)
async def test_cookies_and_headers_of_a_raised_response_arrive(name: str, configure: Any) -> None:
    error = ERRORS[name]
    error.cookies.clear()
    error.set_cookie("a", "1", httponly=True)
    error.set_cookie("b", "2")
    error.headers["x-mine"] = "yes"
    answer, goes_on = await answer_to(error, configure)
    assert answer.status == error.status
    assert answer.headers["x-mine"] == "yes"
    assert answer.headers.getall("Set-Cookie") == ["a=1; HttpOnly; Path=/", "b=2; Path=/"]
    assert goes_on


@everywhere
@pytest.mark.parametrize("kind", [web.HTTPFound, web.HTTPForbidden])
async def test_a_raised_response_may_end_the_connection(kind: Any, configure: Any) -> None:
    error = kind("/elsewhere") if kind is web.HTTPFound else kind()
    error.force_close()
    answer, goes_on = await answer_to(error, configure)
    assert answer.headers["Connection"] == "close"
    assert not goes_on


@everywhere
@pytest.mark.parametrize(
    ("name", "code", "source"),
    [
        ("envelope", "unauthorized", "user"),
        ("own body", "conflict", "user"),
        ("own body of the server", "bad_gateway", "upstream"),
    ],
)
async def test_an_error_with_a_body_of_its_own_is_counted_as_what_it_is(
    name: str, code: str, source: str, configure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[Failure | None, BaseException | None]] = []
    end = Pipeline.end

    def watch(
        self: Pipeline, request: web.Request, message: Any, exchange: Exchange, outcome: Outcome | None
    ) -> None:
        end(self, request, message, exchange, outcome)
        assert outcome is not None
        ended.append((exchange.failure, outcome.cause))

    monkeypatch.setattr(Pipeline, "end", watch)
    answer, _ = await answer_to(ERRORS[name], configure)
    assert answer.headers["x-platform-error-source"] == source
    failure, cause = ended[0]
    assert failure is not None
    assert (failure.code, failure.source.value, failure.status) == (code, source, answer.status)
    assert cause is ERRORS[name]


def test_a_redirect_is_no_failure() -> None:
    outcome = raised(web.HTTPFound("/elsewhere"), request=None)  # type: ignore[arg-type]  # it is not asked
    assert (outcome.failure, outcome.cause, outcome.is_cut) == (None, None, False)
