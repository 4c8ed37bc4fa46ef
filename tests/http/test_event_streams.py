"""Event streams: their headers, JSON as data, and a generator that says status and headers first."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler, ServerSentEvent
from tests.http.raw import Answer, ask, connected, get, post
from tests.servers import serving

INTERNAL = (500, "internal_error", "upstream")


class Yielding(InvocationHandler):
    """Yields what the test put in."""

    items: list[Any]

    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
        for item in self.items:
            yield item

    async def get_asyncapi_yaml(self, request: web.Request) -> AsyncIterator[Any]:
        for item in self.items:
            yield item


def yielding(*items: Any) -> Yielding:
    handler = Yielding()
    handler.items = list(items)
    return handler


def with_app(builder: AgentHostBuilder) -> None:
    assert builder.app is not None


async def stream_of(*items: Any, request: bytes | None = None, configure: Any = None) -> Answer:
    async with serving(yielding(*items), configure) as client:
        return await ask(client, request or post())


@pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])
async def test_nothing_on_the_way_may_keep_or_gather_events(configure: Any) -> None:
    answer = await stream_of(ServerSentEvent("a"), configure=configure)
    assert answer.headers.getall("Cache-Control") == ["no-cache"]
    assert answer.headers.getall("X-Accel-Buffering") == ["no"]


async def test_what_the_handler_says_of_caches_and_buffers_stays() -> None:
    head = web.StreamResponse(headers={"Cache-Control": "private", "X-Accel-Buffering": "yes"})
    answer = await stream_of(head, ServerSentEvent("a"))
    assert answer.headers.getall("Cache-Control") == ["private"]
    assert answer.headers.getall("X-Accel-Buffering") == ["yes"]


async def test_other_streams_get_no_such_headers() -> None:
    answer = await stream_of("a")
    assert "Cache-Control" not in answer.headers
    assert "X-Accel-Buffering" not in answer.headers


@dataclass
class Part:
    text: str
    more: list[Any] = field(default_factory=list[Any])


class Color(str, enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Shouting(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not this"

    def __format__(self, spec: str) -> str:
        return "nor this"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("text", b"text"),
        (Color.RED, b"red"),
        (Shouting("this"), b"this"),
        ({"a": [1, "ü", None, True]}, '{"a":[1,"ü",null,true]}'.encode()),
        ([], b"[]"),
        ((1, 2), b"[1,2]"),
        (Point(1, 2), b"[1,2]"),
        (0, b"0"),
        (1.5, b"1.5"),
        (None, b"null"),
        (True, b"true"),
        (Part("a\nb", [Part("c")]), b'{"text":"a\\nb","more":[{"text":"c","more":[]}]}'),
        ({"a": "\udc86"}, b'{"a":"\\udc86"}'),
    ],
)
async def test_the_data_of_an_event_is_text_or_json_and_never_a_repr(data: Any, line: bytes) -> None:
    event = ServerSentEvent(data, event="e")
    assert event.encode() == b"event: e\ndata: " + line + b"\n\n"
    assert (await stream_of(event)).body == event.encode()


@pytest.mark.parametrize("data", [b"bytes", {1}, object(), Part, {"a": object()}])
def test_data_that_has_no_form_is_refused_with_a_sentence(data: Any) -> None:
    with pytest.raises(TypeError, match=r"data of an event: .* is no text, and there is no JSON for it"):
        ServerSentEvent(data).encode()


def test_data_that_json_has_no_number_for_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        ServerSentEvent({"x": float("nan")}).encode()


@pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])
async def test_a_generator_sets_status_headers_and_cookies_before_its_first_item(configure: Any) -> None:
    head = web.StreamResponse(status=201, headers={"x-model": "m-1"})
    head.set_cookie("a", "1")
    answer = await stream_of(head, ServerSentEvent("a"), ServerSentEvent("b"), configure=configure)
    assert (answer.status, answer.body) == (201, b"data: a\n\ndata: b\n\n")
    assert (answer.headers["x-model"], answer.headers["Set-Cookie"]) == ("m-1", "a=1; Path=/")
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert "x-agent-invocation-id" in answer.headers


async def test_the_content_type_of_the_head_wins_over_that_of_the_first_item() -> None:
    head = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    answer = await stream_of(head, "{}\n", "{}\n")
    assert (answer.headers["Content-Type"], answer.body) == ("application/x-ndjson", b"{}\n{}\n")
    answer = await stream_of(web.StreamResponse(), "a: 1", request=get("/invocations/docs/asyncapi.yaml"))
    assert (answer.headers["Content-Type"], answer.body) == ("application/yaml", b"a: 1")


async def test_a_head_alone_is_an_empty_stream_and_one_for_no_body_has_none() -> None:
    answer = await stream_of(web.StreamResponse(status=202))
    assert (answer.status, answer.body) == (202, b"")
    async with serving(yielding(web.StreamResponse(status=204), "ignored")) as client:
        async with connected(client) as connection:
            connection.send(post(), get("/readiness"))
            assert (await connection.answer()).status == 204
            assert (await connection.answer()).status == 200


async def test_a_head_with_a_body_and_a_second_head_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    assert (await stream_of(web.Response(text="whole"), "a")).error == INTERNAL
    assert (await stream_of(web.StreamResponse(), web.StreamResponse())).error == INTERNAL
    assert "yield a web.StreamResponse first, for status and headers" in caplog.text


async def test_an_error_before_the_first_item_is_a_whole_answer_in_spite_of_a_head() -> None:
    class Failing(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
            yield web.StreamResponse(status=201, headers={"x-model": "m-1"})
            raise web.HTTPConflict
            yield "never"

    async with serving(Failing) as client:
        answer = await ask(client, post())
    assert answer.error == (409, "conflict", "user")
    assert "x-model" not in answer.headers
