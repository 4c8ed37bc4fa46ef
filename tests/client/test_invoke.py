"""The client against small servers that answer as the contract says, and as proxies on the way do."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import (
    AnswerError,
    DeadlineError,
    InvocationsClient,
    LostConnectionError,
    RefusedError,
    ResponseError,
    Retry,
    Timeouts,
    UnreachableError,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[web.Application], Awaitable[TestServer]]


@pytest.fixture
def serve(aiohttp_server: Serve) -> Callable[..., Awaitable[str]]:
    async def start(*, post: Handler | None = None, get: Handler | None = None, prefix: str = "") -> str:
        app = web.Application()
        if post is not None:
            app.router.add_post(prefix + "/invocations", post)
            app.router.add_post(prefix + "/invocations/{id}/cancel", post)
        if get is not None:
            app.router.add_get(prefix + "/invocations/{id}", get)
            app.router.add_get(prefix + "/readiness", get)
        server = await aiohttp_server(app)
        return str(server.make_url(prefix or "/"))

    return start


Start = Callable[..., Awaitable[str]]


async def echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "type": request.headers.get("Content-Type"),
            "body": (await request.read()).decode(),
            "query": dict(request.query),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "path": request.path,
        },
        headers={"x-agent-session-id": "s-1", "x-request-id": "r-1"},
    )


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("body", "media_type", "sent"),
    [
        ("héllo", "text/plain; charset=utf-8", "héllo"),
        (b"raw", "application/octet-stream", "raw"),
        ({"a": [1, None]}, "application/json", '{"a": [1, null]}'),
        (None, None, ""),
    ],
)
async def test_a_body_is_sent_as_what_it_is(
    serve: Start, body: object, media_type: str | None, sent: str
) -> None:
    async with InvocationsClient(await serve(post=echo)) as client:
        seen = (await client.invoke(body)).json()
    assert seen["body"] == sent
    assert seen["type"] in {media_type, "application/octet-stream" if body is None else media_type}


async def test_a_body_of_megabytes_arrives_whole_and_again_when_it_is_repeated(serve: Start) -> None:
    sizes: list[int] = []

    async def measure(request: web.Request) -> web.Response:
        sizes.append(len(await request.read()))
        assert request.content_length == sizes[-1]
        return web.Response(status=503 if len(sizes) == 1 else 200)

    retry = Retry(attempts=2, first_delay=0, repeat_posts=True)
    app = web.Application(client_max_size=0)
    app.router.add_post("/invocations", measure)
    async with TestServer(app) as server, InvocationsClient(server.make_url("/"), retry=retry) as client:
        await client.invoke("x" * 5_000_000)
    assert sizes == [5_000_000, 5_000_000]


async def test_an_answer_has_the_servers_ids_before_the_callers(serve: Start) -> None:
    async with InvocationsClient(await serve(post=echo)) as client:
        answer = await client.invoke("x", invocation_id="mine")
    assert (answer.invocation_id, answer.session_id, answer.request_id) == ("mine", "s-1", "r-1")
    assert answer.json()["headers"]["x-agent-invocation-id"] == "mine"


async def test_client_headers_get_their_prefix_once(serve: Start) -> None:
    headers = {"tenant": "a", "X-Client-Region": "b"}
    async with InvocationsClient(await serve(post=echo), client_headers=headers) as client:
        seen = (await client.invoke("x", headers={"x-one": "1"})).json()["headers"]
    assert (seen["x-client-tenant"], seen["x-client-region"], seen["x-one"]) == ("a", "b", "1")


async def test_a_session_is_in_every_post_and_shares_the_connections(serve: Start) -> None:
    async with InvocationsClient(await serve(post=echo)) as client:
        session = client.session()
        first, second = [(await session.invoke("x")).json()["query"] for _ in range(2)]
        other = (await client.session("abc").invoke("x", query={"v": "1"})).json()["query"]
        bare = (await client.invoke("x")).json()["query"]
    assert first == second == {"agent_session_id": session.session_id}
    assert other == {"agent_session_id": "abc", "v": "1"}
    assert bare == {}


async def test_a_server_mounted_under_a_prefix_is_reached(serve: Start) -> None:
    url = await serve(post=echo, prefix="/v1")
    for base in (url, url + "/"):
        async with InvocationsClient(base) as client:
            assert (await client.invoke("x")).json()["path"] == "/v1/invocations"


async def test_cancel_posts_to_the_invocations_own_path(serve: Start) -> None:
    async with InvocationsClient(await serve(post=echo)) as client:
        assert (await client.cancel("a:b.c")).json()["path"] == "/invocations/a:b.c/cancel"


async def test_a_session_is_named_in_get_and_cancel_too_so_that_a_platform_finds_its_container(
    serve: Start,
) -> None:
    async with InvocationsClient(await serve(post=echo, get=echo)) as client:
        session = client.session("s-9")
        for answer in (await session.get("i"), await session.cancel("i"), await session.wait("i")):
            assert answer.json()["query"] == {"agent_session_id": "s-9"}


async def test_an_error_carries_code_message_source_and_ids(serve: Start) -> None:
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

    async with InvocationsClient(await serve(post=refuse)) as client:
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
    serve: Start, status: int, text: str, kind: type[ResponseError], code: str
) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    async with InvocationsClient(await serve(post=answer)) as client:
        with pytest.raises(ResponseError) as caught:
            await client.invoke("x")
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.invocation_id


async def test_an_answer_that_is_no_json_says_what_to_read_instead(serve: Start) -> None:
    async def text(_request: web.Request) -> web.Response:
        return web.Response(
            body="né".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}
        )

    async with InvocationsClient(await serve(post=text)) as client:
        answer = await client.invoke("x")
    assert answer.text == "né"
    with pytest.raises(AnswerError, match=r"text/plain.*use \.text"):
        answer.json()


async def test_no_server_is_one_sentence_with_the_address() -> None:
    port = unused_port()
    retry = Retry(attempts=2, first_delay=0)
    async with InvocationsClient(f"http://127.0.0.1:{port}", retry=retry) as client:
        with pytest.raises(UnreachableError, match=rf"No server answers at http://127.0.0.1:{port}: Connect"):
            await client.invoke("x")
        assert await client.ready() is False


async def test_a_connection_that_never_came_about_is_tried_again(serve: Start) -> None:
    port = unused_port()
    retry = Retry(attempts=50, first_delay=0.05, max_delay=0.05)
    async with InvocationsClient(f"http://127.0.0.1:{port}", retry=retry) as client:
        pending = asyncio.create_task(client.invoke("late"))
        app = web.Application()
        app.router.add_post("/invocations", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        await asyncio.sleep(0.1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            assert (await pending).json()["body"] == "late"
        finally:
            await runner.cleanup()


class Flaky:
    """Fails a few times, then answers; counts what arrived."""

    def __init__(self, failures: int, *, status: int | None) -> None:
        self.failures = failures
        self.status = status
        self.ids: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.ids.append(request.headers.get("x-agent-invocation-id", ""))
        if len(self.ids) > self.failures:
            return web.json_response({"status": "completed"})
        if self.status is not None:
            return web.Response(status=self.status, headers={"Retry-After": "0"})
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@pytest.mark.parametrize("status", [None, 429, 503])
async def test_an_invocation_that_may_have_run_is_never_repeated_unasked(
    serve: Start, status: int | None
) -> None:
    flaky = Flaky(1, status=status)
    async with InvocationsClient(await serve(post=flaky.answer), retry=Retry(first_delay=0)) as client:
        with pytest.raises((LostConnectionError, ResponseError)):
            await client.invoke("x")
    assert len(flaky.ids) == 1


@pytest.mark.parametrize("status", [None, 429, 503])
async def test_asked_for_an_invocation_is_repeated_under_its_id(serve: Start, status: int | None) -> None:
    flaky = Flaky(2, status=status)
    retry = Retry(attempts=3, first_delay=0, repeat_posts=True)
    async with InvocationsClient(await serve(post=flaky.answer), retry=retry) as client:
        assert (await client.invoke("x")).json() == {"status": "completed"}
    assert len(flaky.ids) == 3
    assert len(set(flaky.ids)) == 1


@pytest.mark.parametrize("status", [None, 503])
async def test_a_get_is_repeated_for_it_changes_nothing(serve: Start, status: int | None) -> None:
    flaky = Flaky(2, status=status)
    async with InvocationsClient(
        await serve(get=flaky.answer), retry=Retry(attempts=3, first_delay=0)
    ) as client:
        assert (await client.get("i-1")).json() == {"status": "completed"}


async def test_a_500_is_not_repeated_even_for_a_get(serve: Start) -> None:
    flaky = Flaky(1, status=500)
    async with InvocationsClient(await serve(get=flaky.answer), retry=Retry(first_delay=0)) as client:
        with pytest.raises(ResponseError):
            await client.get("i-1")
    assert len(flaky.ids) == 1


async def test_an_answer_that_does_not_come_is_a_deadline_error_with_the_id(serve: Start) -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with InvocationsClient(await serve(post=never)) as client:
        with pytest.raises(DeadlineError) as caught:
            await client.invoke("x", invocation_id="i-2", timeout=0.05)
    assert caught.value.invocation_id == "i-2"
    assert isinstance(caught.value, TimeoutError)


class Job:
    """Runs for a few questions, then is done."""

    def __init__(self, *states: tuple[int, dict[str, str]]) -> None:
        self.states = list(states)
        self.times: list[float] = []

    async def answer(self, _request: web.Request) -> web.Response:
        self.times.append(asyncio.get_running_loop().time())
        status, state = self.states.pop(0)
        return web.json_response(state, status=status, headers={"Retry-After": "0"} if self.states else {})


async def test_wait_asks_until_the_state_is_final(serve: Start) -> None:
    job = Job(
        (202, {}), (200, {"status": "Running"}), (200, {"status": "queued"}), (200, {"status": "failed"})
    )
    async with InvocationsClient(await serve(get=job.answer)) as client:
        assert (await client.wait("i-3", interval=60)).json() == {"status": "failed"}


async def test_wait_takes_the_callers_own_idea_of_done(serve: Start) -> None:
    job = Job((200, {"phase": "1"}), (200, {"phase": "2"}))
    async with InvocationsClient(await serve(get=job.answer)) as client:
        answer = await client.wait("i-3", done=lambda answer: answer.json()["phase"] == "2", interval=60)
    assert answer.json() == {"phase": "2"}


async def test_wait_honours_retry_after_over_its_own_interval(serve: Start) -> None:
    async def slow(_request: web.Request) -> web.Response:
        return web.Response(status=202, headers={"Retry-After": "3600"})

    async with InvocationsClient(await serve(get=slow)) as client:
        with pytest.raises(DeadlineError, match="not done within 5 s"):
            await client.wait("i-3", interval=0.001, timeout=5)


@pytest.mark.parametrize("bad", ["", "a b", "ä", "a/b", "..", ".", "x" * 257, "a\r\nb"])
async def test_an_id_no_server_would_take_is_refused_before_it_is_sent(bad: str) -> None:
    async with InvocationsClient() as client:
        for call in (client.get(bad), client.cancel(bad), client.invoke("x", invocation_id=bad)):
            with pytest.raises(ValueError, match="1 to 256"):
                await call
        with pytest.raises(ValueError, match="1 to 256"):
            client.session(bad)


@pytest.mark.parametrize("bad", ["localhost:8088", "ftp://x", "", "http://", "http://[::1"])
def test_an_address_that_is_none_says_which_form_it_needs(bad: str) -> None:
    with pytest.raises(ValueError, match="needs the form http://localhost:8088"):
        InvocationsClient(bad)


@pytest.mark.parametrize("bad", [{1}, float("nan"), object()])
async def test_a_body_that_is_no_json_is_refused_before_it_is_sent(bad: object) -> None:
    async with InvocationsClient() as client:
        with pytest.raises(ValueError, match="cannot be sent as JSON"):
            await client.invoke(bad)


@pytest.mark.parametrize("name", ["connect", "answer", "idle", "close"])
def test_a_time_out_of_zero_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Timeouts(**{name: 0.0})


def test_the_wait_between_attempts_doubles_up_to_its_bound_and_obeys_retry_after() -> None:
    retry = Retry(attempts=9, first_delay=1, max_delay=5)
    for attempt, whole in [(1, 1), (2, 2), (3, 4), (4, 5), (10_000, 5)]:
        assert whole / 2 <= retry.delay(attempt) <= whole
    assert retry.delay(1, retry_after=4) == 4
    assert retry.delay(1, retry_after=400) == 400


async def test_the_callers_active_span_is_the_parent(serve: Start) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    span = trace.TracerProvider().get_tracer("caller").start_span("caller")
    from opentelemetry.trace import use_span

    async with InvocationsClient(await serve(post=echo)) as client:
        with use_span(span):
            seen = json.loads((await client.invoke("x")).body)
    assert format(span.get_span_context().trace_id, "032x") in seen["headers"]["traceparent"]
