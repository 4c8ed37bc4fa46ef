"""What a handler may return or yield, and what becomes of it on the wire."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationHandler, ServerSentEvent
from tests.http.raw import Answer, ask, connected, get, post
from tests.servers import serving

INTERNAL = (500, "internal_error", "upstream")


@dataclass
class Part:
    text: str


@dataclass(frozen=True)
class Reply:
    parts: list[Part] = field(default_factory=lambda: [Part("a"), Part("b")])
    done: bool = True


class Color(str, enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


async def answer_of(make: Any) -> Answer:
    """What a handler whose result *make* makes answers."""

    class Returning(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return make()

    async with serving(Returning) as client:
        return await ask(client, post())


@pytest.mark.parametrize(
    ("result", "content_type", "body"),
    [
        ("", "text/plain; charset=utf-8", b""),
        ("Grüße 🐝", "text/plain; charset=utf-8", "Grüße 🐝".encode()),
        (b"", "application/octet-stream", b""),
        (b"\x00\xff", "application/octet-stream", b"\x00\xff"),
        (bytearray(b"ab"), "application/octet-stream", b"ab"),
        (None, "application/json", b"null"),
        (True, "application/json", b"true"),
        (0, "application/json", b"0"),
        (1.5, "application/json", b"1.5"),
        ([1, "ü"], "application/json", '[1,"ü"]'.encode()),
        ((1, 2), "application/json", b"[1,2]"),
        ({}, "application/json", b"{}"),
        (["ü\udc86"], "application/json", b'["\\u00fc\\udc86"]'),
        (Color.RED, "text/plain; charset=utf-8", b"red"),
        ({"color": Color.RED}, "application/json", b'{"color":"red"}'),
        (Point(1, 2), "application/json", b"[1,2]"),
        (Reply(), "application/json", b'{"parts":[{"text":"a"},{"text":"b"}],"done":true}'),
        ({"reply": [Part("x")]}, "application/json", b'{"reply":[{"text":"x"}]}'),
    ],
)
async def test_a_result_is_answered_with_its_type_and_its_length(
    result: Any, content_type: str, body: bytes
) -> None:
    answer = await answer_of(lambda: result)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, content_type, body)
    assert answer.headers["Content-Length"] == str(len(body))


def letters() -> Iterator[str]:
    yield "a"


@pytest.mark.parametrize(
    "make",
    [
        lambda: float("nan"),
        lambda: {"x": float("inf")},
        lambda: {1, 2},
        lambda: {"x": object()},
        lambda: {b"x": 1},
        lambda: "\ud800",
        lambda: Part,
        letters,
        lambda: ServerSentEvent("alone"),
    ],
)
async def test_a_result_that_has_no_form_is_the_agents_fault(make: Any) -> None:
    assert (await answer_of(make)).error == INTERNAL


async def test_the_log_says_what_to_return_instead(caplog: pytest.LogCaptureFixture) -> None:
    await answer_of(lambda: {1, 2})
    assert "there is no JSON for set" in caplog.text


async def test_a_response_of_the_handlers_own_goes_out_as_it_is(tmp_path: Path) -> None:
    answer = await answer_of(
        lambda: web.Response(status=202, text="later", headers={"Retry-After": "2"}, content_type="text/csv")
    )
    assert (answer.status, answer.body, answer.headers["Retry-After"]) == (202, b"later", "2")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    answer = await answer_of(lambda: web.Response(status=204))
    assert (answer.status, answer.body) == (204, b"")
    (tmp_path / "picture.png").write_bytes(b"png" * 1000)
    answer = await answer_of(lambda: web.FileResponse(tmp_path / "picture.png"))
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"png" * 1000, "image/png")
    assert "x-agent-invocation-id" in answer.headers


@pytest.mark.parametrize("status", [400, 404, 409, 500, 503])
async def test_an_error_response_of_the_handlers_own_goes_out_untouched(status: int) -> None:
    answer = await answer_of(lambda: web.Response(status=status, text="mine"))
    assert (answer.status, answer.body) == (status, b"mine")
    expected = "upstream" if status >= 500 else None
    assert answer.headers.get("x-platform-error-source") == expected


async def test_an_error_source_of_the_handlers_own_stays() -> None:
    answer = await answer_of(
        lambda: web.Response(status=503, text="mine", headers={"x-platform-error-source": "platform"})
    )
    assert answer.headers.getall("x-platform-error-source") == ["platform"]


class Yielding(InvocationHandler):
    """Yields what the test put in."""

    items: list[Any]

    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


async def stream_of(*items: Any) -> Answer:
    handler = Yielding()
    handler.items = list(items)
    async with serving(handler) as client:
        return await ask(client, post())


@pytest.mark.parametrize(
    ("items", "content_type", "body"),
    [
        ([], "text/plain; charset=utf-8", b""),
        (["a", "", "b"], "text/plain; charset=utf-8", b"ab"),
        (["", "ü"], "text/plain; charset=utf-8", "ü".encode()),
        ([b"a", bytearray(b"b")], "application/octet-stream", b"ab"),
        ([b"", b"a"], "application/octet-stream", b"a"),
        (["a", b"b"], "text/plain; charset=utf-8", b"ab"),
        ([ServerSentEvent("a"), ServerSentEvent("")], "text/event-stream", b"data: a\n\ndata: \n\n"),
        ([ServerSentEvent("a\r\nb\rc\nd")], "text/event-stream", b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (
            [ServerSentEvent("{}", event="e", id="", retry=0)],
            "text/event-stream",
            b"event: e\nid: \nretry: 0\ndata: {}\n\n",
        ),
    ],
)
async def test_what_a_generator_yields_goes_out_as_chunks(
    items: list[Any], content_type: str, body: bytes
) -> None:
    answer = await stream_of(*items)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, content_type, body)
    assert answer.headers["Transfer-Encoding"] == "chunked"


@pytest.mark.parametrize("item", [None, {"a": 1}, 1, ["a"], "\ud800", RuntimeError("secret")])
async def test_a_first_item_that_cannot_be_sent_is_a_500_and_not_a_broken_stream(item: Any) -> None:
    assert (await stream_of(item)).error == INTERNAL


async def test_a_later_item_that_cannot_be_sent_cuts_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    handler = Yielding()
    handler.items = ["a", {"b": 1}]
    async with serving(handler) as client, connected(client) as connection:
        connection.send(post())
        rest = await connection.rest()
    assert rest.endswith(b"1\r\na\r\n")
    assert "yield str, bytes or a ServerSentEvent; json.dumps makes a str" in caplog.text


async def test_each_item_goes_out_when_it_is_yielded() -> None:
    proceed = asyncio.Event()

    class Slow(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[str]:
            yield "first"
            await proceed.wait()
            yield "second"

    async with serving(Slow) as client, client.post("/invocations") as response:
        assert await asyncio.wait_for(response.content.readany(), 10) == b"first"
        proceed.set()
        assert await response.content.read() == b"second"


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection() -> None:
    handler = Yielding()
    handler.items = ["a", "b"]
    async with serving(handler) as client, connected(client) as connection:
        connection.send(b"POST /invocations HTTP/1.0\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n")
        rest = await connection.rest()
        assert rest.endswith(b"\r\n\r\nab")
        assert b"chunked" not in rest


async def test_every_operation_may_return_or_stream_and_documents_have_their_type() -> None:
    class Everything(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> str:
            return "handled"

        async def get(
            self, invocation_id: str, request: web.Request, context: InvocationContext
        ) -> AsyncIterator[ServerSentEvent]:
            yield ServerSentEvent(invocation_id)

        async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
            return Part(context.invocation_id)

        async def get_openapi(self, request: web.Request) -> Any:
            return {"openapi": "3.1.0"}

        async def get_asyncapi_json(self, request: web.Request) -> Any:
            return b"{}"

        async def get_asyncapi_yaml(self, request: web.Request) -> AsyncIterator[str]:
            yield "asyncapi: "
            yield "3.0.0"

    expected = [
        (post(), "text/plain; charset=utf-8", b"handled"),
        (get("/invocations/i"), "text/event-stream", b"data: i\n\n"),
        (post(path="/invocations/i/cancel"), "application/json", b'{"text":"i"}'),
        (get("/invocations/docs/openapi.json"), "application/json", b'{"openapi":"3.1.0"}'),
        (get("/invocations/docs/asyncapi.json"), "application/json", b"{}"),
        (get("/invocations/docs/asyncapi.yaml"), "application/yaml", b"asyncapi: 3.0.0"),
    ]
    async with serving(Everything) as client:
        for request, content_type, body in expected:
            answer = await ask(client, request)
            assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, content_type, body)


@pytest.mark.parametrize("field_name", ["event", "id"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_an_event_whose_fields_would_break_the_stream_cannot_be_made(field_name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"the {field_name} of an event must be one line"):
        ServerSentEvent("x", **{field_name: value})  # type: ignore[arg-type]  # both fields are text


def test_an_event_cannot_ask_for_a_negative_delay() -> None:
    with pytest.raises(ValueError, match="retry is -1"):
        ServerSentEvent("x", retry=-1)
