"""The ``invocations`` protocol over HTTP, through real sockets (contract, sections 1 to 4)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import (
    BadRequestError,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    NotFoundError,
    PlatformError,
    ServerSentEvent,
)
from tests.servers import serving

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await request.read()


class Returning(InvocationHandler):
    """Returns what the test put in."""

    result: Any = None

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def returning(value: Any) -> Returning:
    handler = Returning()
    handler.result = value
    return handler


async def envelope(response: aiohttp.ClientResponse) -> tuple[int, str, str | None]:
    """Status, code and source of an error, checked to be the one envelope and nothing else."""
    assert response.headers["Content-Type"].startswith("application/json")
    body = await response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message"}
    return response.status, body["error"]["code"], response.headers.get("x-platform-error-source")


async def test_a_post_is_answered_by_the_handler_with_new_ids() -> None:
    async with serving(Echo) as client, client.post("/invocations", data=b"hello") as response:
        assert (response.status, await response.read()) == (200, b"hello")
        assert UUID.fullmatch(response.headers["x-agent-invocation-id"])
        assert UUID.fullmatch(response.headers["x-agent-session-id"])
        assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
        assert response.headers["x-platform-server"].startswith("agentserver-core/")


async def test_a_valid_invocation_id_is_taken_and_an_invalid_one_counts_as_absent() -> None:
    async with serving(Echo) as client:
        for supplied, kept in (("inv_A-1.2:3", True), ("", False), ("a b", False), ("x" * 257, False)):
            headers = {"x-agent-invocation-id": supplied}
            async with client.post("/invocations", headers=headers) as response:
                answered = response.headers["x-agent-invocation-id"]
            assert (answered == supplied) is kept
            assert kept or UUID.fullmatch(answered)


async def test_the_session_id_comes_from_the_query_then_the_environment() -> None:
    async with serving(Echo, environment={"FOUNDRY_AGENT_SESSION_ID": "from-env"}) as client:
        async with client.post("/invocations?agent_session_id=from-query") as response:
            assert response.headers["x-agent-session-id"] == "from-query"
        async with client.post("/invocations") as response:
            assert response.headers["x-agent-session-id"] == "from-env"
        async with client.get("/invocations/x?agent_session_id=from-query") as response:
            assert response.headers["x-agent-session-id"] == "from-env"
        async with client.get("/invocations/docs/openapi.json") as response:
            assert response.headers["x-agent-session-id"] == "from-env"


async def test_the_context_has_everything_the_request_brought() -> None:
    seen: list[InvocationContext] = []

    class Recording(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            seen.append(context)
            return "ok"

    headers = {
        "x-client-trace": "t1",
        "X-Client-Tenant": "T",
        "x-agent-user-isolation-key": " user-1 ",
        "x-agent-chat-isolation-key": "",
        "x-agent-user-id": "uid-1",
        "x-agent-foundry-call-id": "call-1",
    }
    async with serving(Recording) as client:
        await client.post("/invocations?a=1&a=2&b=", headers=headers)
    (context,) = seen
    assert dict(context.client_headers) == {"x-client-trace": "t1", "X-Client-Tenant": "T"}
    assert context.client_headers["X-CLIENT-TRACE"] == "t1"
    assert context.query_parameters.getall("a") == ["1", "2"]
    assert context.query_parameters["b"] == ""
    assert (context.isolation.user_isolation_key, context.isolation.chat_isolation_key) == ("user-1", None)
    assert (context.platform.user_id, context.platform.call_id) == ("uid-1", "call-1")
    with pytest.raises(AttributeError):
        context.session_id = "forged"  # type: ignore[misc]  # what the test is about


@dataclass
class Answer:
    text: str
    score: float


@pytest.mark.parametrize(
    ("result", "content_type", "body"),
    [
        ("grüße", "text/plain; charset=utf-8", "grüße".encode()),
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
        ({"a": [1, None]}, "application/json", b'{"a":[1,null]}'),
        (Answer("x", 0.5), "application/json", b'{"text":"x","score":0.5}'),
        (None, "application/json", b"null"),
    ],
)
async def test_a_handler_may_return_text_bytes_json_or_a_dataclass(
    result: Any, content_type: str, body: bytes
) -> None:
    async with serving(returning(result)) as client, client.post("/invocations") as response:
        assert response.headers["Content-Type"] == content_type
        assert await response.read() == body


async def test_an_async_generator_streams_events_or_chunks() -> None:
    class Streaming(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
            if await request.text() == "events":
                yield ServerSentEvent("one\ntwo", event="word", id="1", retry=10)
            else:
                yield "a"
                yield b"b"

    async with serving(Streaming) as client:
        async with client.post("/invocations", data="events") as response:
            assert response.headers["Content-Type"] == "text/event-stream"
            assert await response.read() == b"event: word\nid: 1\nretry: 10\ndata: one\ndata: two\n\n"
        async with client.post("/invocations") as response:
            assert response.headers["Transfer-Encoding"] == "chunked"
            assert await response.read() == b"ab"


async def test_operations_that_are_not_overridden_are_404_and_not_the_users_fault() -> None:
    async with serving(Echo) as client:
        for method, path in (
            ("GET", "/invocations/x"),
            ("POST", "/invocations/x/cancel"),
            ("GET", "/invocations/docs/openapi.json"),
            ("GET", "/invocations/docs/asyncapi.json"),
            ("GET", "/invocations/docs/asyncapi.yaml"),
        ):
            async with client.request(method, path) as response:
                assert await envelope(response) == (404, "not_found", "upstream")


async def test_a_websocket_handler_answers_404_to_a_post() -> None:
    class Socket(InvocationWebSocketHandler):
        async def handle_websocket(
            self, websocket: web.WebSocketResponse, context: InvocationContext
        ) -> None: ...

    async with serving(Socket) as client, client.post("/invocations") as response:
        assert await envelope(response) == (404, "not_found", "upstream")


async def test_unknown_paths_and_wrong_methods_are_the_users_fault() -> None:
    async with serving(Echo) as client:
        async with client.get("/nope") as response:
            assert await envelope(response) == (404, "not_found", "user")
            assert "x-request-id" in response.headers
        async with client.get("/invocations") as response:
            assert await envelope(response) == (405, "method_not_allowed", "user")
            assert response.headers["Allow"] == "POST"
        async with client.delete("/invocations/docs/openapi.json") as response:
            assert response.headers["Allow"] == "GET, HEAD"


async def test_a_trailing_slash_names_the_same_path_and_head_works_where_get_does() -> None:
    async with serving(Echo) as client:
        async with client.post("/invocations/", data=b"x") as response:
            assert await response.read() == b"x"
        async with client.head("/readiness/") as response:
            assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("secret"), (500, "internal_error", "upstream")),
        (ValueError("secret"), (500, "internal_error", "upstream")),
        (BadRequestError("no"), (400, "invalid_request", "user")),
        (NotFoundError("no"), (404, "not_found", "user")),
        (web.HTTPConflict(text="already running"), (409, "conflict", "user")),
        (web.HTTPBadGateway(), (502, "bad_gateway", "upstream")),
    ],
)
async def test_what_a_handler_raises_becomes_the_envelope(
    error: Exception, expected: tuple[int, str, str]
) -> None:
    async with serving(returning(error)) as client, client.post("/invocations") as response:
        assert await envelope(response) == expected
        assert "secret" not in await response.text()
        assert "x-agent-invocation-id" in response.headers
        assert "x-platform-error-detail" not in response.headers


async def test_a_platform_error_has_a_detail_header_without_control_characters() -> None:
    error = PlatformError("store\r\nx-forged: 1\x07 " + "y" * 3000)
    async with serving(returning(error)) as client, client.post("/invocations") as response:
        assert await envelope(response) == (500, "internal_error", "platform")
        detail = response.headers["x-platform-error-detail"]
        assert detail.startswith("PlatformError: storex-forged: 1 y")
        assert detail.endswith("...[truncated]")
        assert len(detail) == 2048
        assert "x-forged" not in response.headers


async def test_json_that_cannot_be_read_is_the_users_fault() -> None:
    class Reading(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return await request.json()

    async with serving(Reading) as client:
        async with client.post("/invocations", data=b'{"op": ') as response:
            assert await envelope(response) == (400, "invalid_request", "user")
        async with client.post("/invocations", data=b'"\xff"') as response:
            assert await envelope(response) == (400, "invalid_request", "user")


async def test_the_frameworks_headers_win_over_the_handlers() -> None:
    forged = {"x-agent-invocation-id": "forged", "x-agent-session-id": "forged", "x-request-id": "forged"}
    handler = returning(web.json_response(1, headers=forged))
    headers = {"x-agent-invocation-id": "real"}
    async with serving(handler) as client, client.post("/invocations", headers=headers) as response:
        assert response.headers["x-agent-invocation-id"] == "real"
        assert "forged" not in response.headers.values()


async def test_a_stream_that_fails_is_cut_before_its_last_chunk() -> None:
    class Failing(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[str]:
            yield "partial"
            raise RuntimeError("late")

    async with serving(Failing) as client, client.post("/invocations") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_body_over_the_limit_is_refused_announced_or_chunked() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    async with serving(Echo, lambda builder: builder.configure(max_body_size=10_000)) as client:
        async with client.post("/invocations", data=b"x" * 10_000) as response:
            assert response.status == 200
        async with client.post("/invocations", data=b"x" * 10_001) as response:
            assert await envelope(response) == (413, "payload_too_large", "user")
        async with client.post("/invocations", data=chunks()) as response:
            assert await envelope(response) == (413, "payload_too_large", "user")


async def test_a_new_handler_object_serves_every_request_and_an_instance_serves_all() -> None:
    class Counting(InvocationHandler):
        def __init__(self) -> None:
            self.calls = 0

        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            self.calls += 1
            return self.calls

    def make() -> Counting:
        return Counting()

    for source, expected in ((Counting, 1), (Counting(), 2), (make, 1)):
        async with serving(source) as client:
            await client.post("/invocations")
            async with client.post("/invocations") as response:
                assert await response.json() == expected


async def test_the_request_id_is_the_trace_id_then_the_callers_own() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with serving(Echo) as client:
        for headers, expected in (
            ({"x-request-id": "req-42"}, "req-42"),
            ({"x-request-id": "req-42", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}, trace),
        ):
            async with client.get("/readiness", headers=headers) as response:
                assert response.headers["x-request-id"] == expected
